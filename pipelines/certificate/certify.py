"""Turns human labels of random items into a threshold with a promise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import assert_never

import numpy as np

from pipelines.bounds import require_probability
from pipelines.certificate import accepted_error, dataset_error
from pipelines.certificate.certificate import REVIEW_ALL, Certificate, Method, Mode
from pipelines.certificate.found import Found
from pipelines.certificate.labels_needed import labels_needed
from pipelines.certificate.sample import Sample, finite_scores
from pipelines.errors import InvalidRequestError


def certify(
    scores: np.ndarray,
    losses: np.ndarray,
    *,
    mode: Mode,
    alpha: float,
    delta: float,
    pool_scores: np.ndarray | None = None,
    start: float | None = None,
    min_n: int = 0,
    groups: np.ndarray | None = None,
) -> Certificate:
    """The lowest threshold that these labels prove, or the advice to review everything.

    The promise is about items like those of the sample: drawn at random from what will be routed, labelled by people
    who did not see the pre-label, none of them used to fit the scores. Whatever the scores are, it holds; good ones
    only make more acceptable. Nothing here is random: the same arrays give the same certificate, in any order.

    Args:
        scores: (n,) finite, higher = safer, of a random sample.
        losses: (n,) in [0, 1]; 1 = the pre-label is not acceptable. If all are 0 or 1 the bounds are exact.
        mode: "dataset_error" bounds P(wrong and accepted), "accepted_error" P(wrong | accepted).
        alpha: the error that may be, in (0, 1).
        delta: the probability with which the promise may be broken, in (0, 1); see ``delta_of_round``.
        pool_scores: (m,) of unlabelled items, for "accepted_error" and for the coverage.
        start: for "accepted_error", the threshold of a prior round none of whose labels is in this sample.
        min_n: fewer labels (or groups) certify nothing.
        groups: (n,) names; items of one group (frames of a video) are not independent. Each group then counts as one,
            with the mean over its items, and the accepted's error weighs every group alike.

    Raises:
        InvalidRequestError: the arrays do not fit together, a value is out of range, or the pool is missing.
    """
    require_probability("alpha", alpha)
    require_probability("delta", delta)
    if start is not None and math.isnan(start):
        raise InvalidRequestError("invalid_argument", "start must be a score, or None without a prior round; got nan")
    sample = Sample(scores, losses, groups)
    pool = None if pool_scores is None else finite_scores("pool_scores", pool_scores)
    found = _found(sample, pool, mode=mode, alpha=alpha, delta=delta, start=start)
    if sample.n < min_n:
        found = Found(threshold=REVIEW_ALL, bound=1.0)
    missing = None
    if found.threshold == REVIEW_ALL:
        missing = _missing(sample, pool, mode=mode, alpha=alpha, delta=delta, min_n=min_n)
    coverage = _coverage(sample.scores if pool is None or not len(pool) else pool, found.threshold)
    at = np.array([found.threshold])
    return Certificate(
        mode=mode,
        alpha=alpha,
        delta=delta,
        threshold=found.threshold,
        n=sample.n,
        n_accepted=sample.accepted_units(found.threshold),
        errors=float(sample.total_loss(at)[0]),
        bound=found.bound,
        accepted_error_bound=found.bound if mode == "accepted_error" else _of_accepted(found.bound, coverage),
        coverage=coverage,
        labels_needed=missing,
        method=_method(mode, sample),
    )


def per_slice(
    scores: np.ndarray,
    losses: np.ndarray,
    slices: np.ndarray,
    *,
    mode: Mode,
    alpha: float,
    delta: float,
    pool_scores: np.ndarray,
    pool_slices: np.ndarray,
    starts: Mapping[str, float] | None = None,
    min_n: int = 0,
    groups: np.ndarray | None = None,
) -> dict[str, Certificate]:
    """A certificate for every slice, each with its own threshold; all hold together with probability 1 - delta.

    Each slice is certified with delta divided by their number. A slice is any value in the pool or the sample; one
    without labels needs review, and one that the pool lacks takes its thresholds and coverage from the whole pool.

    Args:
        slices: (n,) str, of each labelled item; pool_slices (m,) of each unlabelled one.
        starts: by slice, thresholds of a prior round.

    Raises:
        InvalidRequestError: as for ``certify``.
    """
    names, pool_names = np.asarray(slices).astype(str), np.asarray(pool_slices).astype(str)
    if names.shape != np.shape(scores) or pool_names.shape != np.shape(pool_scores):
        raise InvalidRequestError("invalid_argument", "one slice per score, of the sample and of the pool")
    values = sorted({*names.tolist(), *pool_names.tolist()})
    certificates = {}
    for value in values:
        is_in, pool_is_in = names == value, pool_names == value
        own_pool = np.asarray(pool_scores)[pool_is_in] if pool_is_in.any() else pool_scores
        certificates[value] = certify(
            np.asarray(scores)[is_in],
            np.asarray(losses)[is_in],
            mode=mode,
            alpha=alpha,
            delta=delta / len(values),
            pool_scores=own_pool,
            start=None if starts is None else starts.get(value),
            min_n=min_n,
            groups=None if groups is None else np.asarray(groups)[is_in],
        )
    return certificates


def delta_of_round(delta: float, number: int) -> float:
    """What round ``number``, from 1 on, may spend of delta, so that all rounds together break a promise with delta.

    delta / 2^number: every new threshold is another chance to be wrong.

    Raises:
        InvalidRequestError: delta is no probability, or the number is below 1.
    """
    require_probability("delta", delta)
    if number < 1:
        raise InvalidRequestError("invalid_argument", f"rounds are counted from 1; got {number}")
    return delta / 2.0**number


def _found(
    sample: Sample, pool: np.ndarray | None, *, mode: Mode, alpha: float, delta: float, start: float | None
) -> Found:
    match mode:
        case "dataset_error":
            return dataset_error.lowest_threshold(sample, alpha=alpha, delta=delta)
        case "accepted_error":
            if pool is None or not len(pool):
                raise InvalidRequestError(
                    "invalid_argument", "accepted_error needs pool_scores: thresholds may not come from the sample"
                )
            return accepted_error.lowest_threshold(sample, pool, alpha=alpha, delta=delta, start=start)
        case _:
            assert_never(mode)


def _missing(
    sample: Sample, pool: np.ndarray | None, *, mode: Mode, alpha: float, delta: float, min_n: int
) -> int | None:
    if mode == "dataset_error" or pool is None:
        thresholds, level = np.unique(sample.scores), delta
    else:
        thresholds, level = accepted_error.begins(pool), accepted_error.LEAST_PART * delta
    needed = labels_needed(sample, thresholds, mode=mode, alpha=alpha, level=level)
    return None if needed is None else max(needed, min_n - sample.n)


def _coverage(scores: np.ndarray, threshold: float) -> float:
    return float(np.mean(scores >= threshold)) if len(scores) else 0.0


def _of_accepted(bound: float, coverage: float) -> float:
    """All of the error that may be, among the accepted alone."""
    return min(1.0, bound / coverage) if coverage > 0.0 else 1.0


def _method(mode: Mode, sample: Sample) -> Method:
    if mode == "dataset_error":
        return "clopper_pearson" if sample.is_binary else "hoeffding_bentkus"
    return "sequence_binomial" if sample.is_binary else "sequence_hoeffding_bentkus"
