"""Holds certificates to their promises on populations whose risk is known, beside rules that break theirs."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.decisions.populations import POPULATIONS
from benchmarks.decisions.trials import DATASET, PRIOR, SPREAD
from pipelines.certificate import certify
from tests.pipelines.certificate.simulated import ALPHA, DELTA, bar, outcomes

TRIALS = pytest.mark.parametrize("trials", [200, pytest.param(1_000, marks=pytest.mark.statistics)])
POPULATION = pytest.mark.parametrize("population", POPULATIONS)
SIZE = pytest.mark.parametrize("n", [300, 1_000])


@TRIALS
@SIZE
@POPULATION
@pytest.mark.parametrize("method", [DATASET, SPREAD, PRIOR])
def test_a_promise_is_broken_with_delta_at_most(method: str, population: str, n: int, trials: int) -> None:
    assert outcomes(population, n, trials)[method].violation <= bar(trials)


@TRIALS
@SIZE
@POPULATION
@pytest.mark.parametrize("method", ["plug-in", "plug-in, dataset error"])
def test_the_same_samples_break_a_promise_without_proof(method: str, population: str, n: int, trials: int) -> None:
    assert outcomes(population, n, trials)[method].violation > 0.4


@TRIALS
def test_300_labels_accept_most_of_a_good_population(trials: int) -> None:
    assert outcomes("good", 300, trials)[DATASET].coverage >= 0.70


@TRIALS
def test_1000_labels_accept_most_of_a_good_population_even_for_the_accepted_alone(trials: int) -> None:
    found = outcomes("good", 1_000, trials)

    assert found[SPREAD].coverage >= 0.55
    assert found[PRIOR].coverage >= 0.55
    assert found[SPREAD].coverage > found["learn then test, Bonferroni-50"].coverage


@TRIALS
@SIZE
def test_nearly_everything_is_reviewed_where_some_are_confidently_wrong(n: int, trials: int) -> None:
    found = outcomes("confwrong", n, trials)[SPREAD]

    assert found.coverage <= 0.05
    assert found.violation <= DELTA


@pytest.mark.parametrize("trials", [100, pytest.param(1_000, marks=pytest.mark.statistics)])
@pytest.mark.parametrize("mode", ["dataset_error", "accepted_error"])
def test_graded_losses_keep_their_promise(mode: str, trials: int) -> None:
    # A loss is 0.8 or 0.2 where an item is wrong: half of the population's risk.
    population, rng = POPULATIONS["good"], np.random.default_rng(3)
    pool, _ = population.draw(5_000, rng)
    alpha, broken, coverage = 0.025, 0, 0.0

    for _ in range(trials):
        scores, wrong = population.draw(1_000, rng)
        losses = wrong * rng.choice([0.2, 0.8], len(wrong))
        found = certify(scores, losses, mode=mode, alpha=alpha, delta=DELTA, pool_scores=pool)  # type: ignore[arg-type]
        risk = population.risk(np.array([found.threshold]))
        error = risk.dataset_error if mode == "dataset_error" else risk.accepted_error
        broken += bool(error[0] * 0.5 > alpha)
        coverage += float(risk.coverage[0]) / trials
        assert found.method.endswith("hoeffding_bentkus")

    assert broken / trials <= bar(trials)
    assert coverage > 0.2


@pytest.mark.parametrize("trials", [100, pytest.param(1_000, marks=pytest.mark.statistics)])
def test_a_group_counts_once_and_items_alone_would_break_the_promise(trials: int) -> None:
    # All thirty frames of a video are right or wrong together, so that 3,000 frames are 100 videos.
    population, rng = POPULATIONS["good"], np.random.default_rng(4)
    broken = {"groups": 0, "items": 0}

    for _ in range(trials):
        video_scores, video_losses = population.draw(100, rng)
        scores, losses = np.repeat(video_scores, 30), np.repeat(video_losses, 30)
        for name, groups in (("groups", np.repeat(np.arange(100), 30)), ("items", None)):
            found = certify(scores, losses, mode="dataset_error", alpha=ALPHA, delta=DELTA, groups=groups)
            broken[name] += bool(population.risk(np.array([found.threshold])).dataset_error[0] > ALPHA)

    assert broken["groups"] / trials <= bar(trials)
    assert broken["items"] / trials > 0.2


@pytest.mark.parametrize("trials", [100, pytest.param(1_000, marks=pytest.mark.statistics)])
def test_grouped_accepted_error_keeps_its_promise(trials: int) -> None:
    population, rng = POPULATIONS["good"], np.random.default_rng(5)
    pool, _ = population.draw(5_000, rng)
    broken, accepting = 0, 0

    for _ in range(trials):
        video_scores, video_losses = population.draw(3_000, rng)
        scores, losses = np.repeat(video_scores, 2), np.repeat(video_losses, 2)
        groups = np.repeat(np.arange(3_000), 2)
        found = certify(
            scores, losses, mode="accepted_error", alpha=ALPHA, delta=DELTA, pool_scores=pool, groups=groups
        )
        accepting += found.is_certified
        broken += bool(population.risk(np.array([found.threshold])).accepted_error[0] > ALPHA)

    assert broken / trials <= bar(trials)
    assert accepting / trials > 0.5
