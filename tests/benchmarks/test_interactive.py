"""Checks what is claimed about the clicks on one image, and that the measurement goes its whole way."""

from __future__ import annotations

import json
from dataclasses import replace

from benchmarks import interactive, machine
from benchmarks.interactive import Click, Clicks


def a_click(wait_ms: float) -> Click:
    return Click(wait_ms=wait_ms, prepare_ms=1.0, forward_ms=wait_ms - 3.0, read_ms=1.0)


def some_clicks(*, first_ms: float = 100.0, next_ms: float = 20.0) -> Clicks:
    return Clicks(
        model="m",
        device="cpu",
        first=[a_click(first_ms)] * 3,
        next=[a_click(next_ms)] * 9,
        control_first=[a_click(100.0)] * 3,
        control_next=[a_click(90.0)] * 3,
        differences=[0.0, 0.0005],
    )


def are_met(clicks: Clicks) -> list[bool]:
    return [judgement.is_met for judgement in interactive.judge(clicks)]


def test_quick_further_clicks_that_say_the_same_are_met() -> None:
    assert are_met(some_clicks()) == [True, True, True]


def test_a_further_click_that_takes_half_as_long_is_not_quick() -> None:
    assert are_met(some_clicks(next_ms=50.0)) == [False, True, True]


def test_a_model_that_keeps_nothing_and_is_as_quick_shows_that_something_else_is_measured() -> None:
    assert are_met(replace(some_clicks(), control_next=[a_click(20.0)] * 3)) == [True, False, True]


def test_another_score_and_none_at_all_miss_the_bar() -> None:
    assert are_met(replace(some_clicks(), differences=[0.0, 0.002])) == [True, True, False]
    assert are_met(replace(some_clicks(), differences=[])) == [True, True, False]


def test_every_click_is_measured_step_by_step() -> None:
    clicks = interactive.measure(rounds=2, tiny=True, device="cpu", progress=lambda _: None)

    figures = json.loads(interactive.report(clicks).as_json(machine.here()))
    assert (len(clicks.first), len(clicks.next)) == (2, 2 * interactive.MORE_CLICKS)
    assert (len(clicks.control_first), len(clicks.control_next)) == (2, 2)
    assert max(clicks.differences) == 0.0
    assert all(click.rest_ms > 0.0 for click in (*clicks.first, *clicks.next))
    assert figures["further_clicks"]["n"] == 2 * interactive.MORE_CLICKS
    assert figures["first_click"]["forward_p50_ms"] > figures["further_clicks"]["forward_p50_ms"]
