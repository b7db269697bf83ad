"""Checks what is counted of accepted scenes, by hand and by search."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.decisions.detector.outcome import best_coverage, outcome


def test_errors_and_coverages_are_shares_of_all_and_of_each_part() -> None:
    accepted = np.array([[True, True, True, False], [False, True, False, False]])
    losses = np.array([[1.0, 0.0, 1.0, 1.0], [1.0, 0.0, 1.0, 1.0]])
    parts_of = np.array([["easy", "easy", "hard", "hard"]] * 2)

    found = outcome(accepted, losses, parts_of, parts=("easy", "hard"), oracles=np.array([0.5, 0.5]), alpha=0.1)

    assert found.errors.tolist() == [0.5, 0.0]
    assert found.coverages.tolist() == [0.75, 0.25]
    assert found.part_errors.tolist() == [[0.5, 0.5], [0.0, 0.0]]
    assert found.part_coverages.tolist() == [[1.0, 0.5], [0.5, 0.0]]
    assert found.kept == 0.5
    assert found.part_kept == [0.5, 0.5]
    assert found.kept_in_every_part == 0.5


def test_an_error_in_one_part_alone_is_no_kept_promise_in_every_part() -> None:
    accepted, losses = np.ones((1, 20), dtype=bool), np.zeros((1, 20))
    losses[0, 0] = 1.0
    parts_of = np.array([["easy"] * 4 + ["hard"] * 16])

    found = outcome(accepted, losses, parts_of, parts=("easy", "hard"), oracles=np.array([1.0]), alpha=0.05)

    assert found.kept == 1.0
    assert found.part_kept == [0.0, 1.0]
    assert found.kept_in_every_part == 0.0


@pytest.mark.parametrize("levels", [10, 10_000])
def test_the_oracle_is_the_best_of_all_thresholds(levels: int) -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        scores = rng.integers(0, levels, 60) / levels
        losses = (rng.random(60) < 1.0 - scores).astype(float)

        found = best_coverage(scores, losses, alpha=0.1)

        tried = [scores >= threshold for threshold in [np.inf, *scores.tolist()]]
        assert found == max(taken.mean() for taken in tried if (taken * losses).mean() <= 0.1)


def test_where_the_safest_are_wrong_the_oracle_accepts_nothing() -> None:
    assert best_coverage(np.array([0.9, 0.9, 0.1]), np.array([1.0, 0.0, 0.0]), alpha=0.05) == 0.0
