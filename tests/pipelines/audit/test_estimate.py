"""Checks that audited items tell what all items are like, and that a plain mean of them does not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipelines.audit import estimated_error
from pipelines.errors import InvalidRequestError

N, AUDIT_RATE = 5_000, 0.05


def a_routed_batch(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Losses, and probabilities of a person's looking: the risky fifth is all reviewed, of the others 5 %."""
    is_reviewed = rng.random(N) < 0.2
    losses = (rng.random(N) < np.where(is_reviewed, 0.3, 0.03)).astype(float)
    return losses, np.where(is_reviewed, 1.0, AUDIT_RATE)


@pytest.mark.parametrize("runs", [100, pytest.param(500, marks=pytest.mark.statistics)])
def test_weighted_audits_are_unbiased_and_unweighted_ones_are_not(runs: int) -> None:
    rng, biases, unweighted, covered = np.random.default_rng(1), [], [], []

    for _ in range(runs):
        losses, probabilities = a_routed_batch(rng)
        is_seen = rng.random(N) < probabilities
        found = estimated_error(losses[is_seen], probabilities[is_seen], n=N)
        biases.append(found.error - losses.mean())
        unweighted.append(losses[is_seen].mean() - losses.mean())
        covered.append(found.low <= losses.mean() <= found.high)

    assert abs(np.mean(biases)) < 3 * np.std(biases) / math.sqrt(runs)
    assert np.mean(unweighted) > 0.05
    assert np.mean(covered) > 0.95 - 3 * math.sqrt(0.05 * 0.95 / runs)


@pytest.mark.parametrize("runs", [300, pytest.param(3_000, marks=pytest.mark.statistics)])
@pytest.mark.parametrize("rate", [0.01, 0.03])
def test_the_interval_holds_for_rare_errors_where_one_from_the_standard_error_does_not(rate: float, runs: int) -> None:
    # On the upper side, where a dashboard that is too calm does harm.
    rng, below, below_plain = np.random.default_rng(2), 0, 0

    for _ in range(runs):
        losses = (rng.random(200) < rate).astype(float)
        found = estimated_error(losses, np.full(200, 0.1), n=2_000, confidence=0.9)
        below += found.high < rate
        below_plain += found.error + 1.645 * found.standard_error < rate

    assert below / runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)
    if rate == 0.01:
        assert below_plain / runs > 0.1


def test_the_estimate_is_the_hand_made_sum() -> None:
    found = estimated_error(np.array([1.0, 0.0, 0.5]), np.array([0.1, 0.1, 1.0]), n=100)

    assert found.error == pytest.approx((10 + 0.5) / 100)
    assert found.standard_error == pytest.approx(np.std([10.0, 0.5, *[0.0] * 98], ddof=1) / 10)
    assert (found.n, found.n_audited) == (100, 3)
    assert 0.0 <= found.low < found.error < found.high <= 1.0


def test_if_all_are_looked_at_every_item_counts() -> None:
    losses = np.repeat([0.0, 1.0], [180, 20])

    found = estimated_error(losses, np.ones(200), n=200)

    assert found.error == 0.1
    assert found.effective_n == pytest.approx(200, rel=0.01)


def test_no_errors_found_leave_room_for_some() -> None:
    found = estimated_error(np.zeros(50), np.full(50, 0.1), n=500)

    assert (found.error, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 50))
    assert estimated_error(np.zeros(0), np.zeros(0), n=10).high == 1.0


@pytest.mark.parametrize(
    ("losses", "probabilities", "n", "message"),
    [
        ([1.0], [0.5, 0.5], 10, "one probability per loss"),
        ([2.0], [0.5], 10, r"losses must be in \[0, 1\]"),
        ([1.0], [0.0], 10, "above 0 and at most 1"),
        ([1.0], [1.5], 10, "above 0 and at most 1"),
        ([1.0, 1.0], [0.5, 0.5], 1, "at least the 2 audited"),
    ],
)
def test_impossible_audits_are_refused(losses: list[float], probabilities: list[float], n: int, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        estimated_error(np.array(losses), np.array(probabilities), n=n)
