"""Checks what is claimed about a bulk client's cost to others."""

from __future__ import annotations

import pytest

from benchmarks import interference
from benchmarks.interference import Interference, Phase


def a_phase(*, latency_ms: float, batch_ms: float = 300.0, bulk_items_per_s: float = 20.0) -> Phase:
    return Phase(
        latencies_ms=[latency_ms] * 15,
        batch_ms=batch_ms,
        batch_sizes={"16": 9},
        bulk_items_per_s=bulk_items_per_s,
    )


def beside(*busy: Phase, idle_ms: float = 50.0) -> Interference:
    return Interference(
        idle=[a_phase(latency_ms=idle_ms, bulk_items_per_s=0.0)] * len(busy),
        busy=list(busy),
        control=[a_phase(latency_ms=2_000.0)] * len(busy),
    )


def are_met(result: Interference) -> list[bool]:
    return [judgement.is_met for judgement in interference.judge(result)]


def test_waiting_for_one_batch_is_allowed() -> None:
    assert are_met(beside(a_phase(latency_ms=400.0))) == [True, True]


def test_waiting_for_more_than_one_batch_is_not() -> None:
    assert are_met(beside(a_phase(latency_ms=401.0))) == [False, True]


def test_what_waits_behind_the_bulk_client_itself_misses_the_bar() -> None:
    result = beside(a_phase(latency_ms=400.0))

    assert are_met(Interference(idle=result.idle, busy=result.control, control=result.control)) == [False, True]


def test_a_bulk_client_that_starves_in_one_round_misses_the_bar() -> None:
    starved = a_phase(latency_ms=60.0, bulk_items_per_s=0.0)

    assert are_met(beside(a_phase(latency_ms=60.0), starved)) == [True, False]


def test_items_that_cost_nothing_are_refused() -> None:
    with pytest.raises(RuntimeError, match="29 ms alone"):
        interference.checked(beside(a_phase(latency_ms=60.0), idle_ms=29.0))


def test_the_report_has_the_control_beside_what_is_judged() -> None:
    figures = interference.report(beside(a_phase(latency_ms=60.0))).figures

    assert figures["beside_bulk_sent_as_interactive"]["p95_ms"] == 2_000.0
    assert figures["beside_bulk"]["p95_ms"] == 60.0
