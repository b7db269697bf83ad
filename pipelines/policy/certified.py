"""Accepts items under a certificate on the error, draws audits, and says which figure decided."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from pydantic import ConfigDict, TypeAdapter

from models.types import Item, Task
from pipelines.certificate import Certificate
from pipelines.identity import identity
from pipelines.policy.conditions import Conditions
from pipelines.policy.drawing import draw
from pipelines.policy.scoring import score
from pipelines.policy.terms import ALL, Terms, Tier
from pipelines.types import Decision, PreLabel, Route


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdict:
    """What becomes of an item before audits are drawn."""

    route: Route
    reason: str
    threshold: float | None = None


@dataclass(frozen=True, kw_only=True)
class CertifiedPolicy:
    """Accepts what scores at least as high as the threshold that was certified for its slice.

    Attributes:
        certificates: by slice (Terms.slice_of); one without a threshold reviews everything.
        calibration_id: of what gives pre-labels their confidence, which is the score; None for the models' own scores
            (calibration.raw_score).
        conditions: what the certificates were given for.
        seed: of the draws; nobody who labels or sends items needs to know it.
        round: how often this task's policy had been fitted, with this time.
    """

    # A threshold may be infinite, which JSON has no number for.
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", ser_json_inf_nan="strings")

    task: Task
    terms: Terms
    certificates: dict[str, Certificate]
    calibration_id: str | None
    conditions: Conditions
    seed: str
    round: int

    @property
    def id(self) -> str:
        return self._id

    @cached_property
    def _id(self) -> str:
        return identity("certified", POLICY.dump_json(self))

    def decide(self, item: Item, task: Task, pre_label: PreLabel) -> Decision:
        return self._drawn(item, pre_label, self._verdict(item, pre_label))

    def review(self, item: Item, pre_label: PreLabel, reason: str) -> Decision:
        """Send an item to a human whatever it scores; the random sample is drawn all the same."""
        return self._drawn(item, pre_label, _Verdict(route="review", reason=reason))

    def score(self, pre_label: PreLabel) -> float | None:
        """How safe a pre-label is, in [0, 1]; None where another calibration scored it than this policy's."""
        if pre_label.provenance.calibration_id != self.calibration_id:
            return None
        return score(self.task, pre_label)

    def keeps_for_humans(self, item: Item, pre_label: PreLabel, safety: float) -> bool:
        """Whether a tier keeps an item that scores so from being accepted, whatever was certified."""
        tier = self._tier(item, pre_label)
        return tier is not None and (tier.is_always_reviewed or safety < tier.min_confidence)

    def _verdict(self, item: Item, pre_label: PreLabel) -> _Verdict:
        if why := self.conditions.broken_by(item, pre_label.provenance, source=self.terms.source):
            return _Verdict(route="review", reason=f"the certificate does not hold here: {why}")
        tier = self._tier(item, pre_label)
        if tier is not None and tier.is_always_reviewed:
            return self._to_human(pre_label, f"items of tier '{tier.name}' are always reviewed")
        slice_ = self.terms.slice_of(item)
        certificate = self.certificates.get(slice_)
        if certificate is None:
            return self._to_human(pre_label, f"nothing is certified for {slice_}")
        if not certificate.is_certified:
            return self._to_human(pre_label, f"nothing can be accepted yet: {certificate.summary()}")
        return self._by_score(pre_label, certificate, tier, where=f" of {slice_}" if slice_ != ALL else "")

    def _by_score(self, pre_label: PreLabel, certificate: Certificate, tier: Tier | None, *, where: str) -> _Verdict:
        safety = self.score(pre_label)
        if safety is None or not math.isfinite(safety):
            return self._to_human(pre_label, "it has no score of the calibration that the certificate is for")
        wants = certificate.threshold if tier is None else max(certificate.threshold, tier.min_confidence)
        needs = f"tier '{tier.name}' needs" if tier and wants > certificate.threshold else "needs"
        said = f"{safety:.3f} sure that nothing is wrong" if pre_label.calibrated else f"scored {safety:.3f}"
        if not safety >= wants:
            return self._to_human(pre_label, f"{said}, {needs} {wants:.3f}", threshold=wants)
        terms = self.terms
        promised = "all items{} are accepted wrongly" if terms.mode == "dataset_error" else "the accepted{} are wrong"
        reason = (
            f"{said}, {needs} {wants:.3f}; at most {terms.alpha:.1%} of {promised.format(where)}, "
            f"with {100.0 * (1.0 - certificate.delta):.4g} % confidence"
        )
        return _Verdict(route="accept", reason=reason, threshold=wants)

    def _to_human(self, pre_label: PreLabel, reason: str, *, threshold: float | None = None) -> _Verdict:
        """A review, or a start from scratch where the pre-label would be more hindrance than help."""
        for name, most in self.terms.scratch.items():
            if (value := pre_label.uncertainty.get(name)) is not None and value > most:
                return _Verdict(
                    route="scratch",
                    reason=f"{reason}; {name} is {value:.2f}, above {most:.2f}, so the pre-label is not shown",
                    threshold=threshold,
                )
        return _Verdict(route="review", reason=reason, threshold=threshold)

    def _drawn(self, item: Item, pre_label: PreLabel, verdict: _Verdict) -> Decision:
        """The decision, with its audit drawn: one number an item, so the random sample is part of every tier's."""
        tier, terms = self._tier(item, pre_label), self.terms
        drawn = draw(self.seed, item.id, pre_label.provenance.item_digest)
        audit_rate = max(terms.audit_rate, (tier and tier.audit_rate) or 0.0)
        is_in_sample = drawn < terms.audit_rate
        route, reason = verdict.route, verdict.reason
        if route == "accept" and drawn < audit_rate:
            route, reason = "audit", f"{reason}; drawn for an audit at {audit_rate:.1%}"
        return Decision(
            route=route,
            queue=None if route == "accept" else self._queue(item, tier),
            reason=reason,
            policy_id=self.id,
            threshold=verdict.threshold,
            propensity=audit_rate if route in ("accept", "audit") else 1.0,
            draw=drawn,
            is_blind=self._is_blind(route, is_in_sample=is_in_sample),
            uniform_rate=terms.audit_rate if is_in_sample else None,
        )

    def _is_blind(self, route: Route, *, is_in_sample: bool) -> bool:
        if route == "scratch":
            return True
        return self.terms.audits == "blind" and (route == "audit" or (route == "review" and is_in_sample))

    def _tier(self, item: Item, pre_label: PreLabel) -> Tier | None:
        annotations = pre_label.prediction.annotations
        return next((tier for tier in self.terms.tiers if tier.holds(item, annotations)), None)

    def _queue(self, item: Item, tier: Tier | None) -> str:
        if tier is None or tier.queue is None:
            return self.terms.queue
        is_within = tier.quota >= 1.0 or draw(self.seed, "queue", item.id) < tier.quota
        return tier.queue if is_within else self.terms.queue


POLICY = TypeAdapter(CertifiedPolicy)
