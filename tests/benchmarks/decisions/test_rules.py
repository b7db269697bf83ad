"""Checks the rules that ours are compared with, by hand and by search."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks.decisions import rules
from benchmarks.decisions.populations import POPULATIONS
from benchmarks.decisions.rules import Samples


def drawn(trials: int = 30, n: int = 400) -> Samples:
    population, rng = POPULATIONS["good"], np.random.default_rng(1)
    return rules.samples(*population.draw((trials, n), rng), population.draw(2_000, rng)[0])


def counted(samples: Samples, trial: int, threshold: float) -> tuple[int, int]:
    """Wrong and accepted."""
    is_accepted = samples.scores[trial] >= threshold
    return int(samples.losses[trial][is_accepted].sum()), int(is_accepted.sum())


@pytest.mark.parametrize(
    ("rule", "allows"),
    [
        (rules.plug_in, lambda errors, accepted, n: errors / accepted <= 0.05),
        (rules.plug_in_dataset, lambda errors, accepted, n: errors / n <= 0.05),
        (rules.selective_crc, lambda errors, accepted, n: (errors + 1) / (accepted + 1) <= 0.05),
        (rules.crc_dataset, lambda errors, accepted, n: errors / n * n / (n + 1) + 1 / (n + 1) <= 0.05),
    ],
)
def test_a_rule_takes_the_lowest_score_that_it_allows(rule, allows) -> None:
    samples = drawn()

    found = rule(samples, alpha=0.05, delta=0.05)

    for trial, threshold in enumerate(found.tolist()):
        scores = samples.scores[trial].tolist()
        allowed = [score for score in scores if allows(*counted(samples, trial, score), samples.n)]
        assert threshold == min(allowed, default=np.inf)


def test_bonferroni_takes_the_lowest_of_fifty_that_passes_at_a_fiftieth_of_delta() -> None:
    samples = drawn(n=1_000)

    found = rules.bonferroni(samples, alpha=0.05, delta=0.05)

    grid = [samples.pool[40 * step - 1] for step in range(1, 51)]
    for trial, threshold in enumerate(found.tolist()):
        passing = [one for one in grid if binom.cdf(*counted(samples, trial, one), 0.05) <= 0.05 / 50]
        assert threshold == min(passing, default=np.inf)
    assert np.isfinite(found).mean() > 0.9


def test_sgr_accepts_only_what_passes_one_of_its_steps() -> None:
    samples = drawn(n=1_000)

    found = rules.sgr(samples, alpha=0.05, delta=0.05)

    assert np.isfinite(found).mean() > 0.9
    for trial, threshold in enumerate(found.tolist()):
        if np.isfinite(threshold):
            assert binom.cdf(*counted(samples, trial, threshold), 0.05) <= 0.05 / 10


def test_a_split_start_certifies_with_the_other_labels_alone() -> None:
    samples = drawn(n=1_000)

    found = rules.split_start(samples, alpha=0.05, delta=0.05)

    assert np.isfinite(found).mean() > 0.7
    for trial, threshold in enumerate(found.tolist()):
        if np.isfinite(threshold):
            is_accepted = samples.scores[trial, 300:] >= threshold
            errors = int(samples.losses[trial, 300:][is_accepted].sum())
            assert binom.cdf(errors, is_accepted.sum(), 0.05) <= 0.05


@pytest.mark.parametrize("rule", [rules.plug_in, rules.sgr, rules.bonferroni, rules.split_start, rules.selective_crc])
def test_where_all_are_wrong_nothing_is_accepted(rule) -> None:
    rng = np.random.default_rng(2)
    samples = rules.samples(rng.random((5, 200)), np.ones((5, 200)), rng.random(500))

    assert np.all(np.isinf(rule(samples, alpha=0.05, delta=0.05)))
