"""Tests whether what comes in now looks like what a certificate was made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from pipelines.audit.period import Period
from pipelines.bounds import require_probability

What = Literal["scores", "classes", "accepted", "corrections"]

_BINS = 10  # of the population stability index, by the reference's deciles
_LEAST_EXPECTED = 5.0  # labels of a class, for chi-square to be near the truth; rarer classes are taken together
_EXACT = 10_000  # values, up to which the distribution of the greatest distance is computed exactly


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One comparison of now with the reference.

    Attributes:
        slice: of which items.
        what: what was compared.
        statistic: the greatest distance of the distributions (scores, corrections), chi-square (classes), or by how
            much the share rose (accepted).
        p_value: how probable so great a difference is if nothing changed.
        adjusted_p: the same, given how many comparisons were made (Holm, 1979).
        psi: the population stability index, ≥ 0; by custom above 0.1 is some change and above 0.25 much. None where
            no bins are compared.
        reference_n: how many values there were.
        current_n: how many there are now.
        is_significant: whether ``adjusted_p`` is at most the level.
    """

    slice: str
    what: What
    statistic: float
    p_value: float
    adjusted_p: float
    psi: float | None
    reference_n: int
    current_n: int
    is_significant: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compared:
    statistic: float
    p_value: float
    psi: float | None = None


def drifts(reference: Period, current: Period, *, level: float = 0.05) -> list[Drift]:
    """Compare all that both periods have, slice by slice; the most surprising comes first.

    The probability that anything is called significant while nothing changed is at most ``level``, for all comparisons
    together. A slice that only one period has is not compared.

    Raises:
        InvalidRequestError: the level is no probability.
    """
    require_probability("level", level)
    compared = [
        *_each("scores", reference.scores, current.scores, _distributions),
        *_each("classes", reference.classes, current.classes, _class_mix),
        *_each("accepted", reference.accepted, current.accepted, _shares),
        *_each("corrections", reference.corrections, current.corrections, _distances),
    ]
    adjusted = holm(np.array([one.p_value for one in compared]))
    found = [
        replace(one, adjusted_p=p, is_significant=p <= level)
        for one, p in zip(compared, adjusted.tolist(), strict=True)
    ]
    return sorted(found, key=lambda one: one.p_value)


def holm(p_values: np.ndarray) -> np.ndarray:
    """(k,) p-values, adjusted so that calling those up to a level significant errs anywhere with that probability.

    Holm, A simple sequentially rejective multiple test procedure (1979).
    """
    order = np.argsort(p_values)
    stepped = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def _each(
    what: What,
    reference: Mapping[str, np.ndarray],
    current: Mapping[str, np.ndarray],
    compare: Callable[[np.ndarray, np.ndarray], _Compared],
) -> list[Drift]:
    found = []
    for name in sorted(reference.keys() & current.keys()):
        before, now = np.asarray(reference[name]), np.asarray(current[name])
        if not len(before) or not len(now):
            continue
        compared = compare(before, now)
        found.append(
            Drift(
                slice=name,
                what=what,
                statistic=compared.statistic,
                p_value=compared.p_value,
                adjusted_p=compared.p_value,
                psi=compared.psi,
                reference_n=len(before),
                current_n=len(now),
                is_significant=False,
            )
        )
    return found


def _distances(reference: np.ndarray, current: np.ndarray) -> _Compared:
    """Kolmogorov and Smirnov; where values are tied, as many corrections of size 0 are, it errs towards no drift."""
    from scipy.stats import ks_2samp

    method = "exact" if max(len(reference), len(current)) <= _EXACT else "asymp"
    tested: Any = ks_2samp(reference, current, method=method)  # scipy 1.17 does not type what it returns
    return _Compared(statistic=float(tested.statistic), p_value=float(tested.pvalue))


def _distributions(reference: np.ndarray, current: np.ndarray) -> _Compared:
    edges = np.unique(np.quantile(reference, np.arange(1, _BINS) / _BINS))
    counts = [np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1) for values in (reference, current)]
    return replace(_distances(reference, current), psi=_stability(*counts))


def _class_mix(reference: np.ndarray, current: np.ndarray) -> _Compared:
    from scipy.stats import chi2_contingency

    classes, codes = np.unique(np.concatenate([reference, current]), return_inverse=True)
    table = np.stack(
        [
            np.bincount(codes[: len(reference)], minlength=len(classes)),
            np.bincount(codes[len(reference) :], minlength=len(classes)),
        ]
    )
    psi = _stability(*table)
    grouped = _with_rare_together(table)
    if grouped.shape[1] < 2:
        return _Compared(statistic=0.0, p_value=1.0, psi=psi)
    if grouped.shape[1] == 2:
        return _Compared(statistic=_chi_square(grouped), p_value=_fisher(grouped), psi=psi)
    tested: Any = chi2_contingency(grouped, correction=False)
    return _Compared(statistic=float(tested.statistic), p_value=float(tested.pvalue), psi=psi)


def _with_rare_together(table: np.ndarray) -> np.ndarray:
    """A (2, k) table in which classes that are too rare for chi-square are one."""
    smaller = table.sum(axis=1).min() / table.sum()
    is_rare = table.sum(axis=0) * smaller < _LEAST_EXPECTED
    if not is_rare.any():
        return table
    return np.concatenate([table[:, ~is_rare], table[:, is_rare].sum(axis=1, keepdims=True)], axis=1)


def _shares(reference: np.ndarray, current: np.ndarray) -> _Compared:
    """Fisher's exact test of two shares."""
    before, now = np.asarray(reference, dtype=bool), np.asarray(current, dtype=bool)
    table = np.array([[before.sum(), (~before).sum()], [now.sum(), (~now).sum()]])
    return _Compared(statistic=float(now.mean() - before.mean()), p_value=_fisher(table))


def _fisher(table: np.ndarray) -> float:
    from scipy.stats import fisher_exact

    tested: Any = fisher_exact(table)
    return float(tested.pvalue)


def _chi_square(table: np.ndarray) -> float:
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    return float(((table - expected) ** 2 / expected).sum())


def _stability(reference: np.ndarray, current: np.ndarray) -> float:
    """The population stability index, Σ (q - p) ln(q / p) over bins; half a count more in each, so that none is 0."""
    p = (reference + 0.5) / (reference.sum() + 0.5 * len(reference))
    q = (current + 0.5) / (current.sum() + 0.5 * len(current))
    return float(((q - p) * np.log(q / p)).sum())
