"""Calibrates and certifies on one random sample of labelled scenes, and decides about all others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

import numpy as np

from benchmarks.decisions import rules
from benchmarks.decisions.detector.labelling import TASK, LabelledScene
from benchmarks.decisions.detector.scored import Scored
from pipelines.calibration import Calibration
from pipelines.certificate import certify, delta_of_round
from pipelines.policy.certified import CertifiedPolicy
from pipelines.policy.conditions import Conditions
from pipelines.policy.evidence import Evidence, Judged
from pipelines.policy.fit import Fit, Fitted, fit
from pipelines.policy.scoring import score, scored_again
from pipelines.policy.terms import Terms

TERMS = Terms(queue="images")  # what is usual: at most 5 % of all items accepted and wrong, with 95 % confidence
BY_PART = replace(TERMS, slices=("source",))
ROUND = 1

Rule = Literal["calibrated", "by part", "raw", "plug-in", "plug-in on raw"]

_POOL = 500  # pre-labels without answers, which tell a certificate its coverage
_ASKED = 25  # items that the policies themselves are asked about, too


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalibration:
    """What came of one sample.

    Attributes:
        fresh: (m,) places of the scenes that are not in the sample.
        accepted: by rule, (m,) bool, which of them it takes as they are, those that it would audit included.
        confidences: (m,) P(nothing of it needs a correction) of each of them.
        n_certified: how many labels certify; the others calibrate.
        differing: how often a policy, asked about an item, said something else than its threshold.
    """

    fresh: np.ndarray
    accepted: dict[Rule, np.ndarray]
    confidences: np.ndarray
    calibration: Calibration
    n_certified: int
    differing: int


def recalibrated(
    scored: Scored, *, conditions: Conditions, n: int, number: int, seed: int, now: datetime
) -> Recalibration:
    """Fit on n scenes as the product does, and decide about those that are left.

    Calibration and certificate share the n labels; the rules on the raw score need no calibration and have all for the
    certificate. Each plug-in rule has the scores and the labels that the rule of ours beside it certifies with.

    Raises:
        RuntimeError: the sample gives no calibration, so that there is nothing to measure.
    """
    rng = np.random.default_rng([seed, number])
    order = rng.permutation(len(scored.scenes))
    sample, fresh = np.sort(order[:n]), np.sort(order[n:])
    evidence = _evidence(scored, sample, order[n : n + _POOL])
    this = Fit(task=TASK, terms=TERMS, conditions=conditions, round=ROUND, seed=str(number), now=now, rng_seed=number)
    whole = fit(evidence, this)
    if whole.calibration is None:
        raise RuntimeError(f"{n} labels give no calibration: {whole.uncalibrated}")
    by_part = _by_part(evidence, this, whole.calibration)
    scenes, certified = [scored.scenes[place] for place in fresh.tolist()], np.array(whole.certified_on)
    confidences = _confidences(scenes, whole.calibration)
    certifying = _confidences([scored.scenes[place] for place in certified.tolist()], whole.calibration)
    asked = rng.choice(len(fresh), size=min(_ASKED, len(fresh)), replace=False)
    accepted: dict[Rule, np.ndarray] = {
        "calibrated": _accepted(whole.policy, scenes, confidences),
        "by part": _accepted(by_part.policy, scenes, confidences),
        "raw": scored.raw[fresh] >= _certified(scored.raw[sample], scored.losses[sample]),
        "plug-in": confidences >= _plugged_in(certifying, scored.losses[certified]),
        "plug-in on raw": scored.raw[fresh] >= _plugged_in(scored.raw[sample], scored.losses[sample]),
    }
    return Recalibration(
        fresh=fresh,
        accepted=accepted,
        confidences=confidences,
        calibration=whole.calibration,
        n_certified=len(certified),
        differing=sum(
            _takes(policy, scenes[place], whole.calibration) != bool(is_accepted[place])
            for policy, is_accepted in ((whole.policy, accepted["calibrated"]), (by_part.policy, accepted["by part"]))
            for place in asked.tolist()
        ),
    )


def _evidence(scored: Scored, sample: np.ndarray, others: np.ndarray) -> Evidence:
    """What reviewers who see no pre-label and make no mistake say of the sample; a place is a pre-label's number."""
    judged = [
        Judged(
            prelabel_id=place,
            item=scored.scenes[place].item,
            pre_label=scored.scenes[place].pre_label,
            answer=scored.scenes[place].truth,
            is_shown=False,
            rate=TERMS.audit_rate,
        )
        for place in sample.tolist()
    ]
    pool = [(scored.scenes[place].item, scored.scenes[place].pre_label) for place in others.tolist()]
    return Evidence(judged=judged, pending=0, pool=pool, population=len(scored.scenes))


def _by_part(evidence: Evidence, this: Fit, calibration: Calibration) -> Fitted:
    """A threshold and a certificate for each part, on the same calibration and labels."""
    return fit(evidence, replace(this, calibration=calibration, terms=BY_PART))


def _confidences(scenes: Sequence[LabelledScene], calibration: Calibration) -> np.ndarray:
    return np.array([score(TASK, scored_again(one.pre_label, calibration)) for one in scenes])


def _accepted(policy: CertifiedPolicy, scenes: Sequence[LabelledScene], confidences: np.ndarray) -> np.ndarray:
    """What reaches the threshold of its slice; nothing does in a slice without one."""
    certificates, slice_of = policy.certificates, policy.terms.slice_of
    found = [certificates.get(slice_of(one.item)) for one in scenes]
    return confidences >= np.array([np.inf if one is None else one.threshold for one in found])


def _takes(policy: CertifiedPolicy, scene: LabelledScene, calibration: Calibration) -> bool:
    return policy.decide(scene.item, TASK, scored_again(scene.pre_label, calibration)).route in ("accept", "audit")


def _certified(scores: np.ndarray, losses: np.ndarray) -> float:
    delta = delta_of_round(TERMS.delta, ROUND)
    return certify(scores, losses, mode=TERMS.mode, alpha=TERMS.alpha, delta=delta, min_n=TERMS.min_n).threshold


def _plugged_in(scores: np.ndarray, losses: np.ndarray) -> float:
    drawn = rules.samples(scores[None], losses[None], scores)
    return float(rules.plug_in_dataset(drawn, alpha=TERMS.alpha, delta=TERMS.delta)[0])
