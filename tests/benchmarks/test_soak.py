"""Checks what a soak test claims, and what it sends."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from benchmarks import machine, soak, soak_items
from benchmarks.judgement import Report
from benchmarks.open_loop import Counted, Delays
from benchmarks.processes import Usage
from benchmarks.soak import Soak

_NONE = Delays(p50_ms=0.0, p99_ms=0.0, most_ms=0.0)
_MIB = 2**20


def counts(**changes: object) -> Counted:
    """100 texts: 80 labelled in 10 ms, 20 refused as they should be."""
    values: dict[str, object] = {
        "scheduled": 100,
        "not_sent": 0,
        "statuses": {"200": 80, "429": 20},
        "shed": {"429": 20},
        "shed_bluntly": 0,
        "unanswered": {},
        "outcomes": {"text": {"labels": 80, "429: overloaded": 20}},
        "good": 80,
        "good_by_fifth": [16] * 5,
        "latencies_ms": [10.0] * 80,
        "shed_ms": _NONE,
        "lateness": _NONE,
        "waits": _NONE,
    }
    return Counted(**values | changes)  # type: ignore[arg-type]


def a_soak(*, items: Counted | None = None, health_ms: float = 5.0, grows_by_mib: float = 0.0) -> Soak:
    usages = [
        Usage(
            at_s=n,
            memory_bytes={"gateway": int((100 + n * grows_by_mib) * _MIB)},
            own_bytes={},
            resident_bytes=0,
            cpu_s={},
            open_files=9,
        )
        for n in range(50)
    ]
    health = counts(statuses={"200": 100}, shed={}, latencies_ms=[health_ms] * 100)
    return Soak(
        peak_per_s=60.0,
        rate_per_s=90.0,
        seconds=60.0,
        items=items or counts(),
        health=health,
        gateway=health,
        usages=usages,
    )


def missed(result: Soak) -> list[str]:
    return [judgement.what for judgement in soak.judge(result) if not judgement.is_met]


def test_a_service_that_refuses_well_meets_every_bar() -> None:
    assert missed(a_soak()) == []
    assert soak.report(a_soak()).is_met


@pytest.mark.parametrize(
    ("result", "what"),
    [
        (a_soak(items=counts(statuses={"200": 80, "500": 20})), "5xx that are no refusals"),
        (a_soak(items=counts(shed={"429": 19}, shed_bluntly=1)), "refusals without Retry-After"),
        (a_soak(items=counts(unanswered={"cut": 1})), "sent and not answered"),
        (a_soak(items=counts(outcomes={"text": {"labels": 80, "failed: internal": 20}})), "wrong outcomes"),
        (a_soak(items=counts(outcomes={"text": {"labels": 98, "not sent": 2}})), "offered and not labelled"),
        (a_soak(grows_by_mib=0.2), "growth of memory"),
        (a_soak(health_ms=100.0), "/healthz p99"),
    ],
)
def test_one_fault_misses_its_own_bar(result: Soak, what: str) -> None:
    assert missed(result) == [what]


def test_a_probe_without_an_answer_counts_as_the_longest_wait() -> None:
    result = a_soak()
    health = replace(result.health, latencies_ms=[5.0] * 98, unanswered={"cut": 2})

    assert "/healthz p99" in missed(replace(result, health=health))


def test_growth_leaves_out_the_warm_up_and_single_peaks() -> None:
    warming_up, flat = [float(n) for n in range(1, 11)], [100.0] * 40
    with_peaks = [*warming_up, *flat[:-1], 900.0]

    assert soak.growth(with_peaks) == 0.0


def test_growth_sees_a_slow_leak() -> None:
    assert (soak.growth([100.0 + n / 5 for n in range(50)]) or 0.0) > 0.05


@pytest.mark.parametrize("samples", [0, 1, 4])
def test_growth_of_memory_seen_too_seldom_is_not_known_and_meets_no_bar(samples: int) -> None:
    result = a_soak()
    seldom = replace(result, usages=result.usages[:samples])

    report = soak.report(seldom)

    content = json.loads(report.as_json(machine.here()))
    [growth] = [judgement for judgement in content["judgements"] if judgement["what"] == "growth of memory"]
    assert growth["value"] is None
    assert growth["met"] is False
    assert missed(seldom) == ["growth of memory"]
    assert "not known" in shown(report)


def shown(report: Report) -> str:
    console = Console(width=200, file=StringIO())
    console.print(report.table)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_requests_are_all_different_and_a_share_of_them_is_bad() -> None:
    requests = soak_items.requests(400, deadline_s=2.0)

    contents = [json.loads(body)["items"][0] for _, body in requests]
    assert len({item.get("text", item.get("data")) for item in contents}) == 400
    shares = Counter(kind for kind, _ in requests)
    assert shares.keys() == soak_items.WANTED.keys()
    assert (shares["text"] + shares["image"]) / 400 == pytest.approx(soak_items.GOOD_SHARE, abs=0.05)
    assert all(json.loads(body)["deadline_s"] == 2.0 for _, body in requests)


def test_the_configuration_serves_behind_haproxy() -> None:
    assert soak.configuration()["server"] == {"ingress": "haproxy"}
