"""Checks that the true risks of a made-up population are those of what it draws."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.decisions.populations import POPULATIONS

NAMES = pytest.mark.parametrize("name", POPULATIONS)


@NAMES
def test_true_risks_are_those_of_many_items(name: str) -> None:
    population, rng = POPULATIONS[name], np.random.default_rng(1)
    scores, losses = population.draw(400_000, rng)
    thresholds = np.quantile(scores, [0.0, 0.3, 0.6, 0.9, 0.99])

    risk = population.risk(thresholds)

    for number, threshold in enumerate(thresholds):
        is_accepted = scores >= threshold
        assert risk.coverage[number] == pytest.approx(is_accepted.mean(), abs=0.004)
        assert risk.dataset_error[number] == pytest.approx(losses[is_accepted].sum() / len(losses), abs=0.002)
        assert risk.accepted_error[number] == pytest.approx(losses[is_accepted].mean(), abs=0.009)


@NAMES
def test_the_oracle_accepts_as_much_as_alpha_allows_and_no_more(name: str) -> None:
    population = POPULATIONS[name]
    scores, _ = population.draw(20_000, np.random.default_rng(2))
    risk = population.risk(np.sort(scores))

    accepted, dataset = population.oracle(0.05)

    assert risk.coverage[risk.accepted_error <= 0.05].max() == pytest.approx(accepted, abs=0.002)
    assert risk.coverage[risk.dataset_error <= 0.05].max() == pytest.approx(dataset, abs=0.002)


def test_oracles_are_what_the_populations_are_made_for() -> None:
    oracles = {name: population.oracle(0.05) for name, population in POPULATIONS.items()}

    assert oracles["good"] == pytest.approx((0.825, 0.871), abs=0.002)
    assert oracles["confwrong"] == pytest.approx((0.198, 0.768), abs=0.002)
    assert oracles["weak"] == pytest.approx((0.428, 0.797), abs=0.002)


@NAMES
def test_who_accepts_nothing_has_no_error(name: str) -> None:
    risk = POPULATIONS[name].risk(np.array([np.inf, 1.0]))

    assert np.all(risk.coverage == 0.0)
    assert np.all(risk.accepted_error == 0.0)
