"""Checks that overlooked errors are allowed for."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from pipelines.audit import corrected_bound, reviewer_sensitivity
from pipelines.bounds import lower_bound, upper_bound
from pipelines.errors import InvalidRequestError

N, SEEDED, RATE = 600, 100, 0.05

corrected = functools.cache(lambda errors, caught: corrected_bound(errors, N, caught=caught, seeded=SEEDED, delta=0.05))
naive = functools.cache(lambda errors: upper_bound(errors, N, delta=0.05))


@pytest.mark.parametrize("trials", [1_000, pytest.param(10_000, marks=pytest.mark.statistics)])
@pytest.mark.parametrize(("caught_share", "most_naive"), [(0.9, 0.95), (0.7, 0.8), (0.5, 0.4)])
def test_the_bound_holds_for_reviewers_who_overlook_errors_and_a_naive_one_does_not(
    caught_share: float, most_naive: float, trials: int
) -> None:
    rng = np.random.default_rng(int(caught_share * 10))
    errors = rng.binomial(N, RATE * caught_share, trials).tolist()
    caught = rng.binomial(SEEDED, caught_share, trials).tolist()

    covers = [corrected(x, k) >= RATE for x, k in zip(errors, caught, strict=True)]
    covers_naively = [naive(x) >= RATE for x in errors]

    assert np.mean(covers) >= 0.95
    assert np.mean(covers_naively) < most_naive


def test_it_is_one_exact_bound_over_the_other() -> None:
    expected = upper_bound(3, 200, delta=0.025) / lower_bound(40, 50, delta=0.025)

    assert corrected_bound(3, 200, caught=40, seeded=50, delta=0.05) == expected


def test_without_planted_errors_nothing_is_known() -> None:
    assert corrected_bound(0, 1_000, caught=0, seeded=0, delta=0.05) == 1.0
    assert reviewer_sensitivity(0, 0, delta=0.05).rate is None


def test_perfect_reviewers_are_not_taken_to_be_perfect() -> None:
    found = reviewer_sensitivity(30, 30, delta=0.05)

    assert found.rate == 1.0
    assert found.lowest == pytest.approx(0.05 ** (1 / 30))
    assert corrected_bound(2, 100, caught=30, seeded=30, delta=0.05) > upper_bound(2, 100, delta=0.05)


def test_more_caught_than_planted_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="from 0 to n"):
        reviewer_sensitivity(5, 4, delta=0.05)
