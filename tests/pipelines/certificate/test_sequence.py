"""Checks that a walk through hypotheses makes wrong claims with no more than its level."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.certificate.sequence import Reached, walk


def walked(p_values: list[float], shares: list[float]) -> Reached | None:
    return walk(np.array(p_values), np.array(shares))


def test_with_all_of_delta_at_the_first_a_walk_ends_at_the_first_failure() -> None:
    assert walked([0.01, 0.05, 0.06, 0.0], [0.05, 0, 0, 0]) == Reached(index=1, level=0.05)
    assert walked([0.06, 0.0, 0.0], [0.05, 0, 0]) is None


def test_a_second_start_goes_on_with_its_own_share_alone() -> None:
    assert walked([0.06, 0.01, 0.02], [0.03, 0, 0.02]) == Reached(index=2, level=0.02)
    assert walked([0.06, 0.01, 0.03], [0.03, 0, 0.02]) is None


def test_walks_that_join_have_the_levels_of_both() -> None:
    reached = walked([0.03, 0.03, 0.05], [0.03, 0, 0.02])

    assert reached is not None
    assert (reached.index, reached.level) == (2, pytest.approx(0.05))


def test_a_p_of_zero_proves_nothing_where_no_level_is_left() -> None:
    assert walked([0.9, 0.0], [0.05, 0.0]) is None


@pytest.mark.parametrize("trials", [2_000, pytest.param(20_000, marks=pytest.mark.statistics)])
@pytest.mark.parametrize("is_dependent", [False, True])
def test_wrong_claims_are_as_rare_as_promised_and_not_if_every_step_had_all_of_delta(
    is_dependent: bool, trials: int
) -> None:
    # Every third hypothesis is true, so that a wrong claim is possible all along the way.
    rng, shares = np.random.default_rng(2), np.zeros(12)
    shares[[0, 4, 8]] = 0.05 / 3
    is_true = np.arange(12) % 3 == 1
    wrong, wrong_without = 0, 0

    for _ in range(trials):
        null = np.full(12, rng.random()) if is_dependent else rng.random(12)
        p_values = np.where(is_true, null, 1e-6)
        wrong += _claims_a_true_one(p_values, shares, is_true)
        wrong_without += _claims_a_true_one(p_values, np.full(12, 0.05), is_true)

    assert wrong / trials <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / trials)
    assert wrong_without / trials > 0.1


def _claims_a_true_one(p_values: np.ndarray, shares: np.ndarray, is_true: np.ndarray) -> bool:
    """Whether any true hypothesis is claimed false: one is, if the walk up to it ends there."""
    ends = (walk(p_values[: number + 1], shares[: number + 1]) for number in range(len(p_values)))
    return any(end is not None and end.index == number and is_true[number] for number, end in enumerate(ends))
