"""Tests that broken promises are found, and labels counted to where a curve crosses its target."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from benchmarks.active_loop.judging import broken, control, judgements, labels_to, saving
from benchmarks.active_loop.rounds import Loop
from benchmarks.judgement import Judgement
from tests.benchmarks.active_loop.builders import a_loop, a_round


def judged(what: str, found: list[Judgement]) -> Judgement:
    [one] = [judgement for judgement in found if what in judgement.what]
    return one


def three_seeds(*, hybrid: Sequence[float], random: Sequence[float]) -> list[Loop]:
    ours = [a_loop(hybrid, seed=seed) for seed in range(3)]
    return ours + [a_loop(random, strategy="random", seed=seed) for seed in range(3)]


def test_a_round_is_broken_when_more_than_alpha_of_all_items_are_accepted_and_wrong() -> None:
    rounds = [a_round(wrong=50), a_round(wrong=51), a_round(accepted=0, wrong=0)]

    assert broken(rounds, lambda one: one.drop, alpha=0.05) == (1, 2)


def test_loops_that_keep_their_promise_meet_every_bar() -> None:
    loops = three_seeds(hybrid=(0.8, 0.9), random=(0.8, 0.9))[1:5]

    found = judgements(loops, alpha=0.05, target=0.9)

    assert [one.is_met for one in found] == [True] * 4


def test_one_broken_round_in_one_loop_misses_the_bar() -> None:
    loops = [a_loop(), a_loop(seed=1, rounds=[a_round(wrong=60)])]

    found = judgements(loops, alpha=0.05, target=0.9)

    assert judged("the drop", found).value == 1 and not judged("the drop", found).is_met


def test_loops_that_accept_nothing_prove_nothing() -> None:
    found = judgements([a_loop(rounds=[a_round(accepted=0, wrong=0)])], alpha=0.05, target=0.9)

    assert judged("the drop", found).value is None and not judged("the drop", found).is_met


def test_held_out_items_count_beside_the_drop() -> None:
    fresh = a_round(items=1_000, wrong=95).drop
    loop = a_loop(rounds=[a_round(items=1_000, wrong=10, fresh=fresh)])

    found = judgements([loop], alpha=0.05, target=0.9)

    assert judged("the drop", found).value == 0 and judged("held-out", found).value == 1


def test_thresholds_by_eye_that_break_the_bound_are_flagged_and_a_control_that_breaks_nothing_is_no_control() -> None:
    broken_by_eye, kept_by_eye = a_loop(), a_loop(rounds=[a_round(by_eye=a_round(wrong=50).drop)])

    assert control([(broken_by_eye, 0.05)]).value == 1 and control([(broken_by_eye, 0.05)]).is_met
    assert not control([(kept_by_eye, 0.05)]).is_met
    assert not control([(broken_by_eye, 0.1)]).is_met


def test_a_policy_that_accepts_less_than_its_certificate_says_is_found() -> None:
    found = judgements(
        [a_loop(rounds=[a_round(), a_round(accepted=0, wrong=0, expected=0.45)])], alpha=0.05, target=0.9
    )

    assert judged("beside", found).value == pytest.approx(0.45) and not judged("beside", found).is_met


def test_an_old_policy_that_accepts_what_a_new_model_says_is_found() -> None:
    found = judgements([a_loop(rounds=[a_round(accepted_by_older=1)])], alpha=0.05, target=0.9)

    assert not judged("predecessor", found).is_met


@pytest.mark.parametrize(
    ("target", "labels"), [(0.5, 0.0), (0.8, 0.0), (0.85, 20.0), (0.9, 40.0), (0.92, 60.0), (0.95, None)]
)
def test_labels_are_counted_to_where_the_mean_curve_crosses_the_target(target: float, labels: float | None) -> None:
    loops = [a_loop((0.78, 0.88, 0.93)), a_loop((0.82, 0.92, 0.95), seed=1)]

    found = labels_to(loops, target)

    assert found == (None if labels is None else pytest.approx(labels))


def test_the_saving_is_judged_from_three_seeds_on() -> None:
    loops = three_seeds(hybrid=(0.8, 0.9, 0.95), random=(0.8, 0.85, 0.9))

    found = judgements(loops, alpha=0.05, target=0.9)

    assert judged("by random's", found).value == pytest.approx(0.5)
    assert not [
        one for one in judgements([*loops[:2], *loops[3:5]], alpha=0.05, target=0.9) if "by random's" in one.what
    ]


def test_a_strategy_that_needs_more_labels_than_random_misses_the_bar() -> None:
    loops = three_seeds(hybrid=(0.8, 0.85, 0.9), random=(0.8, 0.9, 0.95))

    assert not judged("by random's", judgements(loops, alpha=0.05, target=0.9)).is_met


def test_where_random_never_gets_there_all_its_labels_count() -> None:
    loops = [a_loop((0.8, 0.9, 0.95)), a_loop((0.8, 0.81, 0.82), strategy="random")]

    assert saving(loops, target=0.9) == pytest.approx(0.5)
    assert saving(loops[1:], target=0.9) is None
