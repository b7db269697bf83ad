"""Tests that calibration brings probabilities near the truth, by the method that suits the number of answers."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.calibration import fit
from pipelines.calibration.curve_fits import fit_isotonic, fit_platt
from pipelines.calibration.quality import ece
from pipelines.calibration.reviewed import Reviewed
from tests.pipelines.calibration.truths import A_MOMENT, Drawn, Truth, logit_shift, stairs

N_TEST = 20_000
few_and_many = pytest.mark.parametrize("trials", [20, pytest.param(200, marks=pytest.mark.statistics)])


def errors(truth: Truth, *, n: int, trials: int, seed: int) -> dict[str, float]:
    """Mean ECE on N_TEST points of the scores themselves and of both curves, each fitted on n answers."""
    rng = np.random.default_rng(seed)
    test = truth(N_TEST, rng)
    found: dict[str, list[float]] = {"platt": [], "isotonic": []}
    for _ in range(trials):
        drawn = truth(n, rng)
        reviewed = Reviewed.of(drawn.scores, drawn.is_right)
        for name, fit_curve in (("platt", fit_platt), ("isotonic", fit_isotonic)):
            found[name].append(ece(fit_curve(reviewed).apply(test.scores), test.is_right))
    return {"raw": ece(test.scores, test.is_right)} | {name: float(np.mean(values)) for name, values in found.items()}


def chosen(truth: Truth, *, n: int, trials: int, seed: int) -> float:
    """Share of trials in which isotonic regression was taken."""
    rng = np.random.default_rng(seed)

    def is_isotonic(drawn: Drawn) -> bool:
        return fit(drawn.scores, drawn.is_right, fitted_at=A_MOMENT, rng=rng).method == "isotonic"

    return float(np.mean([is_isotonic(truth(n, rng)) for _ in range(trials)]))


@few_and_many
def test_300_answers_cut_the_calibration_error_from_14_to_below_5_percent(trials: int) -> None:
    found = errors(logit_shift, n=300, trials=trials, seed=11)

    assert found["raw"] == pytest.approx(0.141, abs=0.01)
    assert found["platt"] <= 0.05


@few_and_many
@pytest.mark.parametrize("n", [50, 300])
def test_below_a_thousand_answers_isotonic_regression_is_worse_than_platt(n: int, trials: int) -> None:
    found = errors(logit_shift, n=n, trials=trials, seed=12)

    assert found["platt"] < found["isotonic"]


@few_and_many
def test_of_5000_answers_isotonic_regression_makes_more_where_the_truth_is_no_sigmoid(trials: int) -> None:
    found = errors(stairs, n=5_000, trials=trials, seed=13)

    assert found["isotonic"] < 0.5 * found["platt"]


@few_and_many
def test_cross_validation_picks_isotonic_regression_there_and_not_where_platt_is_the_truth(trials: int) -> None:
    assert chosen(stairs, n=5_000, trials=trials, seed=14) == 1.0
    assert chosen(logit_shift, n=5_000, trials=trials, seed=15) < 0.3


def test_below_a_thousand_effective_answers_platt_is_taken_even_where_it_loses() -> None:
    drawn = stairs(999, np.random.default_rng(16))
    weighted = stairs(1_500, np.random.default_rng(17))
    weights = np.where(np.arange(1_500) % 2, 1.0, 20.0)

    plain = fit(drawn.scores, drawn.is_right, fitted_at=A_MOMENT, rng=np.random.default_rng(0))
    few = fit(weighted.scores, weighted.is_right, weights=weights, fitted_at=A_MOMENT, rng=np.random.default_rng(0))

    assert plain.method == few.method == "platt"
    assert few.n_effective < 1_000
    assert plain.isotonic.log_loss < plain.platt.log_loss


@few_and_many
def test_cross_validated_losses_tell_what_new_answers_cost(trials: int) -> None:
    rng = np.random.default_rng(18)
    test = stairs(N_TEST, rng)
    gaps = list[float]()
    for _ in range(trials):
        drawn = stairs(2_000, rng)
        calibrator = fit(drawn.scores, drawn.is_right, fitted_at=A_MOMENT, rng=rng)
        gaps.append(calibrator.isotonic.brier - float(np.mean((calibrator.apply(test.scores) - test.is_right) ** 2)))

    assert abs(np.mean(gaps)) < 0.01
