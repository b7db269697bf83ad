"""Makes up populations of pre-labels whose true risk is known at every threshold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

_LOGITS = np.linspace(-12.0, 16.0, 56_001)  # what the exact risks are summed over


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Pre-labels whose score is a normal logit, and wrong with probability 1 / (1 + exp(offset + slope · logit)).

    ``share`` is how much of the population they are. An offset of minus infinity makes all of them wrong.
    """

    share: float
    mean: float
    deviation: float
    offset: float = 0.0
    slope: float = 1.0

    def is_wrong(self, logits: np.ndarray) -> np.ndarray:
        """The probability that a pre-label of this logit is wrong, in [0, 1]."""
        return 1.0 / (1.0 + np.exp(self.offset + self.slope * logits))

    def mass(self) -> np.ndarray:
        """How much of the population lies at each of the logits that risks are summed over."""
        density = np.exp(-0.5 * ((_LOGITS - self.mean) / self.deviation) ** 2)
        return self.share * density / density.sum()


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """What is true of a threshold: the share it accepts, wrong and accepted of all, and wrong of the accepted.

    Each may be an array, one value per threshold. ``accepted_error`` is 0 where nothing is accepted.
    """

    coverage: np.ndarray
    dataset_error: np.ndarray
    accepted_error: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """A mixture of parts; scores are logistic, in (0, 1), higher = safer, and have no ties."""

    name: str
    parts: tuple[Part, ...]

    def draw(self, shape: int | tuple[int, ...], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Independent items.

        Returns:
            Scores and losses of the given shape; losses are 0.0 (right) or 1.0 (wrong).
        """
        part_of = rng.choice(len(self.parts), size=shape, p=[part.share for part in self.parts])
        means = np.array([part.mean for part in self.parts])[part_of]
        logits = means + rng.standard_normal(shape) * np.array([part.deviation for part in self.parts])[part_of]
        is_wrong = np.select([part_of == n for n in range(len(self.parts))], [p.is_wrong(logits) for p in self.parts])
        return 1.0 / (1.0 + np.exp(-logits)), (rng.random(shape) < is_wrong).astype(float)

    def risk(self, thresholds: np.ndarray | float) -> Risk:
        """The true risk of accepting score ≥ threshold; a threshold of infinity accepts nothing.

        Args:
            thresholds: any shape.
        """
        accepted, wrong = self._tails()
        with np.errstate(divide="ignore", invalid="ignore"):
            logits = np.log(thresholds) - np.log1p(-np.asarray(thresholds, dtype=float))
        logits = np.where(np.isfinite(thresholds), logits, np.inf)
        coverage = np.interp(logits, _LOGITS, accepted, right=0.0)
        dataset_error = np.interp(logits, _LOGITS, wrong, right=0.0)
        return _risk(coverage, dataset_error)

    def oracle(self, alpha: float) -> tuple[float, float]:
        """The greatest coverage with at most alpha error among the accepted, and with at most alpha of all items."""
        accepted, wrong = self._tails()
        risk = _risk(accepted, wrong)
        return (
            float(accepted[risk.accepted_error <= alpha].max(initial=0.0)),
            float(accepted[risk.dataset_error <= alpha].max(initial=0.0)),
        )

    def _tails(self) -> tuple[np.ndarray, np.ndarray]:
        """The mass at or above each logit, and the wrong mass of it."""
        masses = np.array([part.mass() for part in self.parts])
        wrong = masses * np.array([part.is_wrong(_LOGITS) for part in self.parts])
        accepted, wrong_accepted = (np.cumsum(mass.sum(axis=0)[::-1])[::-1] for mass in (masses, wrong))
        return accepted, wrong_accepted


def _risk(coverage: np.ndarray, dataset_error: np.ndarray) -> Risk:
    accepted_error = np.divide(dataset_error, coverage, out=np.zeros_like(coverage), where=coverage > 0)
    return Risk(coverage=coverage, dataset_error=dataset_error, accepted_error=accepted_error)


POPULATIONS: Mapping[str, Population] = {
    population.name: population
    for population in (
        # A calibrated model: 9.7 % wrong in all.
        Population(name="good", parts=(Part(share=1.0, mean=2.95, deviation=1.45),)),
        # 4 % of the items are confidently wrong, as a class is that the model never saw.
        Population(
            name="confwrong",
            parts=(
                Part(share=0.96, mean=4.25, deviation=2.2),
                Part(share=0.04, mean=5.5, deviation=0.9, offset=-np.inf),
            ),
        ),
        # The score barely tells right from wrong: 7.5 % wrong in all, and 4.5 % among the safest fifth.
        Population(name="weak", parts=(Part(share=1.0, mean=0.0, deviation=1.0, offset=2.6, slope=0.4),)),
    )
}
