"""Checks what is claimed of latencies under load, and of the load."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from benchmarks import machine
from benchmarks.label_studio import latency, latency_report
from benchmarks.label_studio.latency import Latency, Look
from benchmarks.load import Answers
from benchmarks.open_loop import Counted, Delays

_NONE = Delays(p50_ms=0.0, p99_ms=0.0, most_ms=0.0)
_ANSWERS = Answers(count=10, seconds=30.0, p50_ms=3_000.0, p95_ms=3_500.0)


def probes(waits_ms: list[float], *, unanswered: int = 0) -> Counted:
    return Counted(
        scheduled=len(waits_ms) + unanswered,
        not_sent=0,
        statuses={"200": len(waits_ms)},
        shed={},
        shed_bluntly=0,
        unanswered={"no answer": unanswered} if unanswered else {},
        outcomes={},
        good=0,
        good_by_fifth=[0] * 5,
        latencies_ms=waits_ms,
        shed_ms=_NONE,
        lateness=_NONE,
        waits=_NONE,
    )


def looks(*, busy: float = 0.9, used: float = 2.0, in_flight: int = 256) -> tuple[Look, ...]:
    """Eleven looks, one a second; gateway and model keep ``busy`` cores busy each."""
    return tuple(
        Look(
            at_s=float(n),
            in_flight=in_flight,
            waiting=0,
            items=300 * n,
            cpu_s={"ServeReplica:gateway:gateway": 5 + busy * n, "ServeReplica:tagger@1:Model": busy * n},
            used_s=100.0 + used * n,
            stolen_s=0.0,
        )
        for n in range(11)
    )


def a_latency(**changes: object) -> Latency:
    values: dict[str, object] = {
        "release": "1.23.2",
        "seconds": 10.0,
        "health": probes([9.0] * 100),
        "setup": probes([40.0] * 100),
        "predict": _ANSWERS,
        "pre_label": _ANSWERS,
        "looks": looks(),
        "connected": (True, True),
    }
    return Latency(**values | changes)  # type: ignore[arg-type]


def missed(found: Latency) -> list[str]:
    return [one.what for one in latency_report.judge(found) if not one.is_met]


def test_quick_answers_of_a_busy_service_meet_every_bar() -> None:
    assert missed(a_latency()) == []


@pytest.mark.parametrize(
    ("found", "what"),
    [
        (a_latency(health=probes([9.0] * 98 + [100.0] * 2)), "health p99"),
        (a_latency(health=probes([9.0] * 98, unanswered=2)), "health p99"),
        (a_latency(setup=probes([9.0] * 98 + [500.0] * 2)), "setup p99"),
        (a_latency(looks=looks(in_flight=0)), "looks at which the model had items"),
        (a_latency(looks=looks(used=1.5)), "cores that all programs kept busy"),
        (a_latency(looks=looks(busy=0.4)), "cores that gateway and model kept busy"),
        (a_latency(connected=(True, False)), "times Label Studio found the backend gone"),
    ],
)
def test_one_fault_misses_its_own_bar(found: Latency, what: str) -> None:
    assert missed(found) == [what]


def test_a_service_that_was_looked_at_once_is_not_known_to_have_been_busy() -> None:
    once = a_latency(looks=looks()[:1])

    assert missed(once) == ["cores that all programs kept busy", "cores that gateway and model kept busy"]
    assert json.loads(latency_report.report(once).as_json(machine.here()))["items_per_s"] == 0.0


def test_time_that_others_stole_counts_as_used() -> None:
    stolen = tuple(replace(look, used_s=1.0 * n, stolen_s=1.0 * n) for n, look in enumerate(looks()))

    assert latency_report.used_cores(stolen) == pytest.approx(2.0)


def test_the_load_is_as_much_as_a_model_takes_of_bulk_work_and_no_text_is_in_it_twice() -> None:
    predict, pre_label = latency.loads("http://here", 1.0)

    texts = [task["data"]["text"] for body in predict.bodies for task in json.loads(body)["tasks"]]
    texts += [item["text"] for body in pre_label.bodies for item in json.loads(body)["items"]]
    assert len(set(texts)) == len(texts) == 8 * (latency.PREDICT_TASKS + latency.PRE_LABEL_ITEMS)
    assert (predict.connections, pre_label.connections) == (1, 1)
