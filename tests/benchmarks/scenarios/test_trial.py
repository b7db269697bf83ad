"""Checks a whole trial on servers in virtual time: what is measured, how often, and with which items."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.scenarios.report import Point
from benchmarks.scenarios.trial import Plan, Result, Trial
from models.errors import PrelabelError
from tests.benchmarks.scenarios.builders import FakeServer, Nobody, Numbers, run

PLAN = Plan(scenario="offline", repeats=5, items=20, duration_s=1.0, warm_up_items=4)


def measure(server: FakeServer, plan: Plan) -> Result:
    return run(Trial(plan, Numbers(), Nobody()).run({None: server}))


def median(point: Point, figure: str) -> float:
    spread = point.spread(figure)
    assert spread is not None
    return spread.median


def test_offline_measures_the_rate_of_the_server() -> None:
    result = measure(FakeServer(service_s=0.1), PLAN)

    [point] = result.points
    assert median(point, "items_per_s") == pytest.approx(10.0)
    assert [part.queries for part in point.slices] == [20] * 5


def test_the_warm_up_is_not_measured() -> None:
    """The first item takes a minute; no repetition may know of it."""
    server = FakeServer(service_s=0.1, stalls_s={0: 60.0})

    [point] = measure(server, PLAN).points

    assert server.stalls == 1
    assert median(point, "items_per_s") == pytest.approx(10.0)
    assert point.work["fake"].items == 5 * 20


def test_no_item_is_sent_twice() -> None:
    server = FakeServer(service_s=0.01)

    measure(server, replace(PLAN, scenario="server"))

    assert len(set(server.asked)) == len(server.asked) > 300


def test_server_loads_are_shares_of_the_measured_peak() -> None:
    result = measure(FakeServer(service_s=0.1), replace(PLAN, scenario="server", items=200))

    assert result.peak_items_per_s == pytest.approx(10.0)
    assert [point.rate_per_s for point in result.points] == pytest.approx([5.0, 8.0, 9.5])
    p95s = [median(point, "latency_p95_s") for point in result.points]
    assert p95s == sorted(p95s)
    assert p95s[0] > 0.1


def test_the_latency_of_a_random_queue_is_that_of_theory() -> None:
    """At half load a single server with a fixed service time is free for half of the arrivals, so the median is that
    time (M/D/1, Pollaczek and Khinchine); those who wait do it for half a service time and more.
    """
    plan = replace(PLAN, scenario="server", items=4_000, rates_per_s=(5.0,))

    result = measure(FakeServer(service_s=0.1), plan)

    [point] = result.points
    assert result.peak_items_per_s is None  # nobody asked for it
    assert median(point, "latency_p50_s") == pytest.approx(0.1, abs=0.01)
    assert 0.2 < median(point, "latency_p95_s") < 0.35


def test_the_highest_rate_that_meets_a_deadline_is_found() -> None:
    plan = replace(PLAN, scenario="server", items=2_000, deadline_s=0.3, finds_max_rate=True, rates_per_s=(9.5,))

    found, above = measure(FakeServer(service_s=0.1), plan).points

    assert 2.0 < (found.rate_per_s or 0.0) < 9.0
    assert median(found, "in_time") == pytest.approx(0.99, abs=0.02)
    assert median(above, "in_time") < 0.95
    assert found.in_time_low is not None
    assert found.in_time_low > 0.98


def test_a_deadline_that_no_rate_meets_is_said() -> None:
    plan = replace(PLAN, scenario="server", deadline_s=0.05, finds_max_rate=True)

    with pytest.raises(PrelabelError, match=r"99 % miss 0\.05 s"):
        measure(FakeServer(service_s=0.1), plan)


def test_failed_and_shed_items_are_counted_and_the_run_goes_on() -> None:
    server = FakeServer(service_s=0.1, failing=[10, 11], shed=[30])

    [point] = measure(server, PLAN).points

    assert point.failed == {"unreadable_image": 2}
    assert point.shed == 1
    assert sum(part.answered for part in point.slices) == 100 - 3


def test_a_target_that_answers_nothing_is_refused_with_its_codes() -> None:
    with pytest.raises(PrelabelError, match="4 × unreadable_image") as refused:
        measure(FakeServer(service_s=0.1, failing=range(1_000)), PLAN)

    assert refused.value.code == "nothing_answered"


def test_a_duration_becomes_as_many_items_as_the_rate_allows() -> None:
    [point] = measure(FakeServer(service_s=0.1), replace(PLAN, items=None, duration_s=2.95)).points

    assert [part.queries for part in point.slices] == [30] * 5
