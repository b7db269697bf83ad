"""Tests that weights of 1 / propensity repair what choosing the doubtful for review does to a calibration."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.calibration.curve_fits import fit_isotonic, fit_platt
from pipelines.calibration.reviewed import Reviewed
from tests.pipelines.calibration.truths import ACCEPTED_FROM, confidently_wrong, sigmoid

few_and_many = pytest.mark.parametrize("trials", [15, pytest.param(100, marks=pytest.mark.statistics)])
N, AUDITED = 10_000, 0.1


@few_and_many
def test_reviews_of_the_doubtful_say_nothing_of_the_confidently_wrong(trials: int) -> None:
    rng = np.random.default_rng(21)
    all_of_them = confidently_wrong(200_000, rng)
    truth = float(1.0 - all_of_them.chance[all_of_them.scores >= ACCEPTED_FROM].mean())
    reviews_only, unweighted, weighted = list[float](), list[float](), list[float]()

    for _ in range(trials):
        drawn = confidently_wrong(N, rng)
        propensity = np.where(drawn.scores < ACCEPTED_FROM, 1.0, AUDITED)
        seen = rng.random(N) < propensity
        doubtful = drawn.scores < ACCEPTED_FROM
        fits = {
            "reviews": Reviewed.of(drawn.scores[doubtful], drawn.is_right[doubtful]),
            "audited": Reviewed.of(drawn.scores[seen], drawn.is_right[seen]),
            "weighted": Reviewed.of(drawn.scores[seen], drawn.is_right[seen], weights=1.0 / propensity[seen]),
        }
        accepted = drawn.scores[~doubtful]
        predicted = {name: float(np.mean(1.0 - fit_platt(r).apply(accepted))) for name, r in fits.items()}
        reviews_only.append(predicted["reviews"])
        unweighted.append(predicted["audited"])
        weighted.append(predicted["weighted"])

    assert np.mean(reviews_only) < 0.65 * truth  # negative control: no audits
    assert np.mean(unweighted) < 0.75 * truth  # negative control: audits that count like reviews
    assert np.mean(weighted) == pytest.approx(truth, abs=0.02)


@few_and_many
@pytest.mark.parametrize("fit_curve", [fit_platt, fit_isotonic])
def test_weights_repair_a_selection_by_more_than_the_score(fit_curve: type, trials: int) -> None:
    """An annotation is reviewed because of its neighbours, which go wrong together with it."""
    rng = np.random.default_rng(22)
    unweighted, weighted, truth = list[float](), list[float](), list[float]()

    for _ in range(trials):
        z = rng.normal(1.0, 1.5, N)
        is_hard = rng.random(N) < 0.3
        is_right = rng.random(N) < sigmoid(z + np.where(is_hard, -2.0, 1.0))
        propensity = np.where(is_hard, 1.0, AUDITED)
        seen = rng.random(N) < propensity
        scores = sigmoid(z)
        plain = fit_curve(Reviewed.of(scores[seen], is_right[seen]))
        repaired = fit_curve(Reviewed.of(scores[seen], is_right[seen], weights=1.0 / propensity[seen]))
        unweighted.append(float(plain.apply(scores).mean()))
        weighted.append(float(repaired.apply(scores).mean()))
        truth.append(float(is_right.mean()))

    assert np.mean(unweighted) < np.mean(truth) - 0.1  # negative control
    assert np.mean(weighted) == pytest.approx(np.mean(truth), abs=0.01)
