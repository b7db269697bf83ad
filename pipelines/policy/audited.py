"""Holds a policy's promise against what people have answered about the items that were drawn from its work."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.audit import BatchCertificate, ErrorEstimate, Sensitivity, alarm, batch_certificate, estimated_error
from pipelines.policy.certified import CertifiedPolicy
from pipelines.types import Route

_MOST_LOG_E = 700.0  # above it the number is no float any more


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedItem:
    """A drawn item and how wrong its pre-label was; ``propensity`` and ``uniform_rate`` are its decision's."""

    route: Route
    propensity: float
    uniform_rate: float | None
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a promise stands.

    Attributes:
        n_audited, n_wrong: accepted items that a human has answered about, and those with something to correct.
        e_value: the evidence that the promise is broken, the highest so far. It may be looked at after every answer:
            that it ever reaches ``limit`` while the promise holds has at most the terms' delta of a chance. Where
            reviewers see the pre-labels the alarm comes rather too soon than too late.
        alpha: the error rate that it is held against; lower than the terms' where reviewers see the pre-labels and
            overlook errors.
        sensitivity: of the reviewers; None where audits are blind.
    """

    n_audited: int
    n_wrong: int
    e_value: float
    limit: float
    alpha: float
    is_broken: bool
    sensitivity: Sensitivity | None

    def summary(self) -> str:
        seen = f"{self.n_wrong} of {self.n_audited} audited items were wrong"
        if self.is_broken:
            return f"{seen}: the evidence against the promise, {self.e_value:.3g}, has reached {self.limit:.3g}"
        return (
            f"{seen}: the evidence against the promise has reached {self.e_value:.3g}; {self.limit:.3g} would break it"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """How a policy's promise does.

    Attributes:
        routes: how many items were sent where.
        accepted_error, dataset_error: for display; None before the first item is accepted. Every audit weighs as many
            items as it was drawn from.
        remaining: how many of the accepted are still wrong at most, now that the audited ones are put right, at the
            terms' delta; exact for these very items. None where reviewers see the pre-labels and may overlook errors.
    """

    verdict: Verdict
    routes: dict[Route, int]
    accepted_error: ErrorEstimate | None
    dataset_error: ErrorEstimate | None
    remaining: BatchCertificate | None


def verdict(policy: CertifiedPolicy, items: Sequence[AuditedItem], *, reviewers: Sensitivity | None = None) -> Verdict:
    """Whether a policy's promise stands, by the answers so far.

    Args:
        items: the drawn items that were answered, in the order of the answers: audits, and members of the random sample
            that were sent to review.
        reviewers: what planted errors say of them, at half of the terms' delta; needed where audits are shown.
    """
    terms = policy.terms
    is_shown = terms.audits == "shown"
    delta = terms.delta / 2 if is_shown else terms.delta
    alpha = terms.alpha * (reviewers.lowest if reviewers else 0.0) if is_shown else terms.alpha
    audits = [item for item in items if item.route == "audit"]
    log_e = _log_evidence(policy, items, alpha=alpha, delta=delta)
    return Verdict(
        n_audited=len(audits),
        n_wrong=sum(item.loss > 0.0 for item in audits),
        e_value=math.exp(min(log_e.max(), _MOST_LOG_E)) if len(log_e) else 1.0,
        limit=1.0 / delta,
        alpha=alpha,
        is_broken=bool((log_e >= -math.log(delta)).any()),
        sensitivity=reviewers if is_shown else None,
    )


def audit_report(
    policy: CertifiedPolicy,
    items: Sequence[AuditedItem],
    routes: Mapping[Route, int],
    *,
    set_aside: int = 0,
    reviewers: Sensitivity | None = None,
) -> AuditReport:
    """What a policy's audits say so far; arguments as for ``verdict``.

    Args:
        routes: how many items were sent where.
        set_aside: how many audits nobody could answer; they count as wrong in what remains.
    """
    audits = [item for item in items if item.route == "audit"]
    n_accepted, n_all = routes.get("accept", 0) + routes.get("audit", 0), sum(routes.values())
    in_sample = [item for item in audits if item.uniform_rate is not None]
    return AuditReport(
        verdict=verdict(policy, items, reviewers=reviewers),
        routes=dict(routes),
        accepted_error=_estimate(audits, n=n_accepted, drawn=routes.get("audit", 0)),
        dataset_error=_estimate(audits, n=n_all, drawn=routes.get("audit", 0)) if n_accepted else None,
        remaining=None
        if policy.terms.audits == "shown"
        else batch_certificate(
            n_accepted,
            min(len(in_sample) + set_aside, n_accepted),
            min(sum(item.loss > 0.0 for item in in_sample) + set_aside, n_accepted),
            delta=policy.terms.delta,
        ),
    )


def _log_evidence(policy: CertifiedPolicy, items: Sequence[AuditedItem], *, alpha: float, delta: float) -> np.ndarray:
    """(n,) after each observation; those beyond the random sample were drawn by what they are, and are left out.

    An observation's mean is the promised rate: of the data set's error a member of the random sample is wrong only
    where it was accepted, of the accepted's only audits count. With alpha 0 nothing can be held against anything.
    """
    if alpha <= 0.0:
        return np.zeros(0)
    sample = [item for item in items if item.uniform_rate is not None]
    if policy.terms.mode == "accepted_error":
        sample = [item for item in sample if item.route == "audit"]
    losses = np.array([item.loss if item.route == "audit" else 0.0 for item in sample], dtype=np.float64)
    return alarm(losses, alpha=alpha, delta=delta).log_e if len(losses) else np.zeros(0)


def _estimate(audits: Sequence[AuditedItem], *, n: int, drawn: int) -> ErrorEstimate | None:
    """Of ``drawn`` audits those that still wait are missing at random, so the others stand for them, too."""
    if not n:
        return None
    losses = np.array([item.loss for item in audits], dtype=np.float64)
    propensities = np.array([item.propensity for item in audits], dtype=np.float64)
    return estimated_error(losses, propensities * min(len(audits) / max(drawn, 1), 1.0), n=n)
