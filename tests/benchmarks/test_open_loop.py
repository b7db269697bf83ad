"""Checks that an open loop keeps its schedule and counts everything that a server can do to a request."""

from __future__ import annotations

import os
from dataclasses import replace

from benchmarks import processes, soak
from benchmarks.open_loop import Plan, sending
from benchmarks.service import free_port
from tests.benchmarks.site import ANSWERS, HELD_S, Site

_KINDS = (*ANSWERS, "dropped")


def a_plan(
    site: Site, *, kinds: tuple[str, ...], seconds: float = 0.5, connections: int = 8, patience_s: float = 30.0
) -> Plan:
    return Plan(
        address=site.address,
        path="/",
        rate_per_s=60.0,
        seconds=seconds,
        requests=tuple((kind, kind) for kind in kinds),
        connections=connections,
        deadline_s=0.1 if connections == 1 else 30.0,
        patience_s=patience_s,
    )


def test_a_soak_counts_every_way_of_not_answering(site: Site) -> None:
    plan = a_plan(site, kinds=_KINDS, seconds=2.0)

    result = soak.overload(plan, peak_per_s=40.0, watch=lambda: processes.usage([os.getpid()]))

    items = result.items
    assert all(site.bodies.count(kind.encode()) == 20 for kind in _KINDS)
    assert items.scheduled == 120 == sum(sum(counts.values()) for counts in items.outcomes.values())
    assert items.statuses == {"200": 40, "503": 20, "429": 20, "500": 20}
    assert items.shed == {"503": 20}
    assert items.shed_bluntly == 20
    assert items.server_errors == 20
    assert items.unanswered == {"cut": 20}
    assert items.good == sum(items.good_by_fifth) == 20
    assert items.outcomes["corrupt image"] == {"failed: unreadable_image": 20}
    missed = {judgement.what for judgement in soak.judge(result) if not judgement.is_met}
    assert missed >= {"5xx that are no refusals", "refusals without Retry-After", "sent and not answered"}
    assert result.health.statuses == {"200": 20}
    assert result.usages


def test_a_server_that_does_all_breaks_none_of_the_bars_for_answers(site: Site) -> None:
    plan = a_plan(site, kinds=("text", "corrupt image", "busy"), seconds=2.0)

    result = soak.overload(plan, peak_per_s=40.0, watch=lambda: processes.usage([os.getpid()]))

    met = {judgement.what for judgement in soak.judge(result) if judgement.is_met}
    assert met >= {
        "5xx that are no refusals",
        "refusals without Retry-After",
        "sent and not answered",
        "wrong outcomes",
    }


def test_a_request_that_waits_too_long_for_a_connection_is_not_sent(site: Site) -> None:
    site.gate.clear()

    with sending(a_plan(site, kinds=("text",), connections=1, patience_s=1.0)) as requests:
        counted = requests.counted()

    assert counted.unanswered == {"no answer": 1}
    assert counted.not_sent == counted.scheduled - 1 > 0


def test_those_behind_a_stall_count_from_when_they_were_due(site: Site) -> None:
    """One connection, whose first request is held for a second: the others are due within half a second of it."""
    kinds = ("held", *["text"] * 9)
    plan = replace(a_plan(site, kinds=kinds, connections=1), rate_per_s=20.0, deadline_s=30.0)

    with sending(plan) as requests:
        counted = requests.counted()

    assert site.bodies.count(b"held") == 1
    assert counted.good == counted.scheduled == 10
    assert min(counted.latencies_ms) >= 1e3 * (HELD_S - plan.seconds)


def test_a_server_that_is_not_there_leaves_requests_unanswered(site: Site) -> None:
    plan = replace(a_plan(site, kinds=("text",)), address=f"http://127.0.0.1:{free_port()}")

    with sending(plan) as requests:
        counted = requests.counted()

    assert counted.unanswered == {"refused": 30}
    assert counted.scheduled == 30
