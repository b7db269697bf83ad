"""Checks the scenarios on servers that answer in virtual time: what is sent when, and from when latency counts."""

from __future__ import annotations

import pytest

from benchmarks.scenarios import load
from benchmarks.scenarios.figures import percentile
from tests.benchmarks.scenarios.builders import FakeServer, Numbers, run

_EVERY_S, _SERVICE_S, _STALL_S = 0.1, 0.01, 5.0
_ARRIVALS_S = [_EVERY_S * number for number in range(100)]


def test_single_stream_sends_the_next_when_the_last_is_done() -> None:
    async def measure() -> list[load.Query]:
        return await load.single_stream(FakeServer(service_s=0.5).label, Numbers().take(4))

    queries = run(measure())

    assert [query.sent_s for query in queries] == pytest.approx([0.0, 0.5, 1.0, 1.5])
    assert [query.latency_s for query in queries] == pytest.approx([0.5] * 4)


def test_the_server_scenario_sends_on_time_however_many_are_open() -> None:
    async def measure() -> list[load.Query]:
        return await load.server(FakeServer(service_s=1.0).label, Numbers().take(5), [0.0, 0.1, 0.2, 0.3, 0.4])

    queries = run(measure())

    assert [query.sent_s for query in queries] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    assert [query.latency_s for query in queries] == pytest.approx([1.0, 1.9, 2.8, 3.7, 4.6])


def test_a_stall_is_seen_by_everybody_who_was_due_in_it() -> None:
    """Half of the run's arrivals fall into the stall: a tail measured from their due times must show it."""
    server = FakeServer(service_s=_SERVICE_S, stalls_s={20: _STALL_S})

    async def measure() -> list[load.Query]:
        return await load.server(server.label, Numbers().take(100), _ARRIVALS_S)

    latencies_s = [query.latency_s for query in run(measure())]

    assert server.stalls == 1
    assert max(latencies_s) == pytest.approx(_STALL_S)
    assert sum(latency_s > 10 * _SERVICE_S for latency_s in latencies_s) > 45
    assert (percentile(latencies_s, 90) or 0.0) > 0.8 * _STALL_S


def test_a_closed_loop_hides_the_same_stall() -> None:
    """The negative control (coordinated omission): waiting for each answer, one query of a hundred sees the stall."""
    server = FakeServer(service_s=_SERVICE_S, stalls_s={20: _STALL_S})

    async def measure() -> list[load.Query]:
        return await load.single_stream(server.label, Numbers().take(100))

    latencies_s = [query.latency_s for query in run(measure())]

    assert server.stalls == 1
    assert percentile(latencies_s, 99) == pytest.approx(_SERVICE_S)


def test_a_sender_that_is_held_up_counts_its_lateness_as_latency() -> None:
    """Whatever holds up the loop, latency begins when the query was due, not when it could be sent."""

    async def measure() -> list[load.Query]:
        return await load.server(FakeServer(service_s=0.5).label, Numbers().take(2), [-2.0, -1.0])

    queries = run(measure())

    assert [query.lag_s for query in queries] == pytest.approx([2.0, 1.0])
    assert [query.latency_s for query in queries] == pytest.approx([2.5, 2.0])


def test_offline_everything_is_due_at_once_and_few_are_open() -> None:
    server, open_now, most = FakeServer(service_s=1.0), 0, 0

    async def ask(content: load.Content) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await server.label(content)
        open_now -= 1

    async def measure() -> list[load.Query]:
        return await load.offline(ask, Numbers().take(10), at_once=3)

    queries = run(measure())

    assert most == 3
    assert {query.scheduled_s for query in queries} == {0.0}
    assert max(query.done_s for query in queries) == pytest.approx(10.0)


def test_what_fails_or_is_shed_is_counted_and_ends_nothing() -> None:
    server = FakeServer(service_s=0.1, failing=[1], shed=[3])

    async def measure() -> list[load.Query]:
        return await load.offline(server.label, Numbers().take(5), at_once=1)

    assert [query.code for query in run(measure())] == [None, "unreadable_image", None, "overloaded", None]


def test_a_defect_of_the_target_is_not_counted_as_a_failed_item() -> None:
    async def ask(_: load.Content) -> None:
        raise RuntimeError("the engine is closed")

    with pytest.raises(RuntimeError, match="closed"):
        run(load.single_stream(ask, Numbers().take(1)))
