"""Draws calibration samples and sees which rules keep their promise, and what they accept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.decisions import rules
from benchmarks.decisions.populations import Population
from benchmarks.decisions.rules import Samples
from pipelines.certificate import REVIEW_ALL, Mode, certify

POOL = 20_000  # unlabelled items
_AT_ONCE = 250  # trials that are drawn together, and share a pool

Rule = Callable[..., np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A rule, what it promises, and whether it is ours."""

    name: str
    promise: Mode
    rule: Rule | None = None

    @property
    def is_ours(self) -> bool:
        return self.rule is None


PRIOR, SPREAD, DATASET = "prelabel, start from a prior round", "prelabel, no prior round", "prelabel, dataset error"
METHODS = (
    Method(name=SPREAD, promise="accepted_error"),
    Method(name=PRIOR, promise="accepted_error"),
    Method(name="learn then test, 30 % split start", promise="accepted_error", rule=rules.split_start),
    Method(name="SGR", promise="accepted_error", rule=rules.sgr),
    Method(name="learn then test, Bonferroni-50", promise="accepted_error", rule=rules.bonferroni),
    Method(name="selective CRC", promise="accepted_error", rule=rules.selective_crc),
    Method(name="plug-in", promise="accepted_error", rule=rules.plug_in),
    Method(name=DATASET, promise="dataset_error"),
    Method(name="CRC, dataset error", promise="dataset_error", rule=rules.crc_dataset),
    Method(name="plug-in, dataset error", promise="dataset_error", rule=rules.plug_in_dataset),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """How one method did on one population at one n: shares of trials, and the mean of the coverage."""

    violation: float
    coverage: float


def measured(
    population: Population, n: int, *, alpha: float, delta: float, trials: int, rng: np.random.Generator
) -> Mapping[str, Cell]:
    """Every method on the same samples, by its name."""
    thresholds: dict[str, list[np.ndarray]] = {method.name: [] for method in METHODS}
    for first in range(0, trials, _AT_ONCE):
        found = _thresholds(population, n, alpha=alpha, delta=delta, trials=min(_AT_ONCE, trials - first), rng=rng)
        for name, values in found.items():
            thresholds[name].append(values)
    return {
        method.name: _cell(population, method.promise, np.concatenate(thresholds[method.name]), alpha)
        for method in METHODS
    }


def _cell(population: Population, promise: Mode, thresholds: np.ndarray, alpha: float) -> Cell:
    risk = population.risk(thresholds)
    error = risk.accepted_error if promise == "accepted_error" else risk.dataset_error
    return Cell(violation=float(np.mean(error > alpha)), coverage=float(np.mean(risk.coverage)))


def _thresholds(
    population: Population, n: int, *, alpha: float, delta: float, trials: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    pool, _ = population.draw(POOL, rng)
    drawn, prior = (rules.samples(*population.draw((trials, n), rng), pool) for _ in range(2))
    starts = _ours(prior, "accepted_error", alpha=alpha, delta=delta)
    ours = {
        SPREAD: _ours(drawn, "accepted_error", alpha=alpha, delta=delta),
        PRIOR: _ours(drawn, "accepted_error", alpha=alpha, delta=delta, starts=starts),
        DATASET: _ours(drawn, "dataset_error", alpha=alpha, delta=delta),
    }
    return ours | {method.name: method.rule(drawn, alpha=alpha, delta=delta) for method in METHODS if method.rule}


def _ours(drawn: Samples, mode: Mode, *, alpha: float, delta: float, starts: np.ndarray | None = None) -> np.ndarray:
    """The product itself, sample by sample; a prior round that certified nothing is none."""
    return np.array(
        [
            certify(
                scores,
                losses,
                mode=mode,
                alpha=alpha,
                delta=delta,
                pool_scores=drawn.pool,
                start=None if start == REVIEW_ALL else start,
            ).threshold
            for scores, losses, start in zip(
                drawn.scores,
                drawn.losses,
                [REVIEW_ALL] * len(drawn.scores) if starts is None else starts.tolist(),
                strict=True,
            )
        ]
    )
