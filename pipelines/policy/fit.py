"""Fits a task's calibration and its policy to what people have said of a random sample."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np

from models.types import Annotation, Item, Task
from pipelines.audit import Sensitivity
from pipelines.bounds import zero_error_n
from pipelines.calibration import Calibration, TooFewLabelsError, fit_calibration
from pipelines.certificate import REVIEW_ALL, Certificate, certify, delta_of_round
from pipelines.corrections.acceptable import loss, right_ones
from pipelines.policy.certified import CertifiedPolicy
from pipelines.policy.conditions import Conditions
from pipelines.policy.drawing import draw
from pipelines.policy.evidence import Evidence, Judged
from pipelines.policy.scoring import score, scored_again
from pipelines.policy.terms import ALL, Terms
from pipelines.types import PreLabel

_NEVER = -1.0  # the score of what is not accepted whatever it scores; others are in [0, 1]
_CALIBRATING = 0.4  # the share of the sample that calibrates; what calibrates does not certify


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What a fit has come to.

    Attributes:
        calibration: None where there were too few labels for one, and ``uncalibrated`` says how many are missing; then
            the models' own scores decide.
        calibrated_on, certified_on: the pre-labels that each stands on, by their numbers in the store.
        set_aside: how many of the latter nobody could answer, and count as wrong.
        shown: how many of them were reviewed with the pre-label in sight, so that some errors may have been missed.
        pool: how many pre-labels there were.
        until: the highest number of these; drift is what comes later against what there was.
    """

    policy: CertifiedPolicy
    calibration: Calibration | None
    uncalibrated: str | None
    calibrated_on: tuple[int, ...]
    certified_on: tuple[int, ...]
    pending: int
    set_aside: int
    shown: int
    pool: int
    until: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Everything that shapes a fit, beside the evidence.

    Attributes:
        starts: by slice, the thresholds of an earlier round that had the same scores and none of this evidence.
        calibration: to keep instead of fitting a new one.
        reviewers: of those who see the pre-labels, at half of the terms' delta; needed where audits are shown.
    """

    task: Task
    terms: Terms
    conditions: Conditions
    round: int
    seed: str
    now: datetime
    rng_seed: int = 0
    starts: Mapping[str, float] = field(default_factory=dict)
    calibration: Calibration | None = None
    reviewers: Sensitivity | None = None


def fit(evidence: Evidence, this: Fit) -> Fitted:
    """Calibrate on a part of the random sample, and certify on the rest.

    Which part an item belongs to is drawn from its digest, or its group's name, so it is the same in every round.
    """
    calibration, uncalibrated, calibrated_on = _calibrated(evidence, this)
    certifying = [one for one in evidence.judged if calibration is None or not _calibrates(one, this.terms)]
    policy = CertifiedPolicy(
        task=this.task,
        terms=this.terms,
        certificates=_certificates(certifying, evidence, this, calibration),
        calibration_id=calibration.id if calibration else None,
        conditions=_with_sources(this, certifying),
        seed=this.seed,
        round=this.round,
    )
    return Fitted(
        policy=policy,
        calibration=calibration,
        uncalibrated=uncalibrated,
        calibrated_on=tuple(sorted(calibrated_on)),
        certified_on=tuple(one.prelabel_id for one in certifying),
        pending=evidence.pending,
        set_aside=sum(one.answer is None for one in certifying),
        shown=sum(one.is_shown and one.answer is not None for one in certifying),
        pool=evidence.population,
        until=evidence.until,
    )


def _calibrated(evidence: Evidence, this: Fit) -> tuple[Calibration | None, str | None, frozenset[int]]:
    """The calibration, or why there is none, and what it stands on."""
    if this.calibration is not None:
        return this.calibration, None, frozenset()
    chosen = [one for one in evidence.judged if one.answer is not None and _calibrates(one, this.terms)]
    try:
        calibration = fit_calibration(
            this.task,
            [one.pre_label.prediction for one in chosen],
            chain=this.conditions.chain,
            config_digest=this.conditions.config_digest,
            right=[
                right_ones(this.task, _said(one), one.answer or (), this.terms.acceptable(this.task)) for one in chosen
            ],
            acceptable=[_loss(one, this) == 0.0 for one in chosen],
            weights=[1.0 / one.rate for one in chosen],
            now=this.now,
            rng=np.random.default_rng(this.rng_seed),
        )
    except TooFewLabelsError as err:
        return None, err.message, frozenset()
    return calibration, None, frozenset(one.prelabel_id for one in chosen)


def _calibrates(one: Judged, terms: Terms) -> bool:
    """Whether an item is for calibrating. What belongs together calibrates or certifies together."""
    group = None if terms.group is None else one.item.meta.get(terms.group)
    return draw("calibrates", group or one.pre_label.provenance.item_digest) < _CALIBRATING


def _certificates(
    certifying: Sequence[Judged], evidence: Evidence, this: Fit, calibration: Calibration | None
) -> dict[str, Certificate]:
    """A certificate for each slice that the sample or the pool has; their deltas add up to the round's."""
    terms = this.terms
    sample = defaultdict[str, list[Judged]](list)
    for one in certifying:
        sample[terms.slice_of(one.item)].append(one)
    pool = defaultdict[str, list[float]](list)
    for item, pre_label in evidence.pool:
        pool[terms.slice_of(item)].append(_routed(item, pre_label, this, calibration))
    slices = sorted({*sample, *pool}) or [ALL]
    delta = delta_of_round(terms.delta, this.round) / len(slices)
    return {slice_: _certificate(slice_, sample[slice_], pool[slice_], this, calibration, delta) for slice_ in slices}


def _certificate(
    slice_: str,
    sample: Sequence[Judged],
    pool: Sequence[float],
    this: Fit,
    calibration: Calibration | None,
    delta: float,
) -> Certificate:
    """What the sample proves of a slice.

    Items that a tier keeps from being accepted cannot be accepted wrongly: they count as right in the error of the data
    set, and not at all in that of the accepted.
    """
    terms = this.terms
    scores = np.array([_routed(one.item, one.pre_label, this, calibration) for one in sample], dtype=np.float64)
    losses = np.array([_loss(one, this) for one in sample], dtype=np.float64)
    pooled = np.array(pool, dtype=np.float64)
    groups = None if terms.group is None else np.array([one.item.meta.get(terms.group, one.item.id) for one in sample])
    if terms.mode == "accepted_error":
        may_be = scores > _NEVER
        scores, losses, pooled = scores[may_be], losses[may_be], pooled[pooled > _NEVER]
        groups = None if groups is None else groups[may_be]
    else:
        losses[scores == _NEVER] = 0.0
    alpha = terms.alpha
    if terms.audits == "shown":  # what is found wrong may be so much less as they overlook
        alpha, delta = alpha * (this.reviewers.lowest if this.reviewers else 0.0), delta / 2
    if not len(scores) or not alpha or (terms.mode == "accepted_error" and not len(pooled)):
        return _review_all(terms, delta, n=len(scores))
    certificate = certify(
        scores,
        losses,
        mode=terms.mode,
        alpha=alpha,
        delta=delta,
        pool_scores=pooled if len(pooled) else None,
        start=this.starts.get(slice_),
        min_n=terms.min_n,
        groups=groups,
    )
    missing = certificate.labels_needed
    if missing is not None and calibration is not None:
        missing = math.ceil(missing / (1.0 - _CALIBRATING))  # as the others will calibrate
    certificate = replace(certificate, alpha=terms.alpha, labels_needed=missing)
    return certificate if certificate.threshold > _NEVER else _of_all_that_may_be(certificate, scores, pooled)


def _review_all(terms: Terms, delta: float, *, n: int) -> Certificate:
    """Of a slice that nothing is known of, or whose reviewers are not known."""
    return Certificate(
        mode=terms.mode,
        alpha=terms.alpha,
        delta=delta,
        threshold=REVIEW_ALL,
        n=n,
        n_accepted=0,
        errors=0.0,
        bound=1.0,
        accepted_error_bound=1.0,
        coverage=0.0,
        labels_needed=max(zero_error_n(terms.alpha, delta) - n, 1),
        method="clopper_pearson",
    )


def _of_all_that_may_be(certificate: Certificate, scores: np.ndarray, pooled: np.ndarray) -> Certificate:
    """The certificate of a threshold that all pass which a tier does not keep back."""
    coverage = float((pooled > _NEVER).mean()) if len(pooled) else float((scores > _NEVER).mean())
    return replace(
        certificate,
        threshold=0.0,
        n_accepted=int((scores > _NEVER).sum()),
        coverage=coverage,
        accepted_error_bound=min(certificate.bound / coverage, 1.0) if coverage else 1.0,
    )


def _routed(item: Item, pre_label: PreLabel, this: Fit, calibration: Calibration | None) -> float:
    """The score as the policy will see it."""
    tier = next((tier for tier in this.terms.tiers if tier.holds(item, pre_label.prediction.annotations)), None)
    safety = score(this.task, scored_again(pre_label, calibration))
    if tier is not None and (tier.is_always_reviewed or safety < tier.min_confidence):
        return _NEVER
    return safety


def _loss(one: Judged, this: Fit) -> float:
    """1.0 for what nobody could answer."""
    if one.answer is None:
        return 1.0
    return loss(this.task, _said(one), one.answer, this.terms.acceptable(this.task))


def _said(one: Judged) -> tuple[Annotation, ...]:
    return one.pre_label.prediction.annotations


def _with_sources(this: Fit, certifying: Sequence[Judged]) -> Conditions:
    if this.terms.source is None:
        return this.conditions
    seen = {one.item.meta.get(this.terms.source, "") for one in certifying}
    return replace(this.conditions, sources=tuple(sorted(seen)))
