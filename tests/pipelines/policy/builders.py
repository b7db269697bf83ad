"""Builds certified policies and what they are fitted on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from models.types import Annotation, Item, Prediction, TextSpan
from pipelines.certificate import Certificate
from pipelines.policy.certified import CertifiedPolicy
from pipelines.policy.conditions import Conditions
from pipelines.policy.evidence import Evidence, Judged
from pipelines.policy.terms import Terms
from pipelines.types import PreLabel, Provenance

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
CONDITIONS = Conditions(chain=("tagger@1:abababababab",), config_digest="cd" * 32)


def an_item(item_id: str = "one", **meta: str) -> Item:
    return Item(id=item_id, media="text", text=f"text of {item_id}", meta=meta)


def a_span(score: float, *, label: str = "person", start: int = 0) -> Annotation:
    return Annotation(id=str(start), label=label, geometry=TextSpan(start=start, end=start + 4), score=score)


def a_pre_label(
    score: float = 0.9,
    *,
    label: str = "person",
    digest: str = "ef" * 32,
    uncertainty: dict[str, float] | None = None,
) -> PreLabel:
    """One span, whose score is that of the sentence, too."""
    provenance = Provenance(
        model="tagger",
        model_version="1",
        weights_digest="ab" * 32,
        config_digest=CONDITIONS.config_digest,
        chain=CONDITIONS.chain,
        calibration_id=None,
        policy_id=None,
        item_digest=digest,
        created_at=NOW,
    )
    signals = {"no_miss": 1.0, "sentence": score, "min_score": score}
    return PreLabel(
        prediction=Prediction(annotations=(a_span(score, label=label),), signals=signals),
        confidence=None,
        calibrated=False,
        uncertainty=uncertainty or {"sentence": 1.0 - score},
        provenance=provenance,
    )


def a_certificate(threshold: float = 0.8, *, labels_needed: int | None = None) -> Certificate:
    return Certificate(
        mode="dataset_error",
        alpha=0.05,
        delta=0.025,
        threshold=threshold,
        n=300,
        n_accepted=0 if math.isinf(threshold) else 200,
        errors=4.0,
        bound=0.04,
        accepted_error_bound=0.06,
        coverage=0.0 if math.isinf(threshold) else 0.7,
        labels_needed=labels_needed,
        method="clopper_pearson",
    )


def a_policy(
    *, terms: Terms | None = None, certificates: dict[str, Certificate] | None = None, seed: str = "seed"
) -> CertifiedPolicy:
    return CertifiedPolicy(
        task="ner",
        terms=terms or Terms(queue="texts", audit_rate=0.1),
        certificates=certificates or {"": a_certificate()},
        calibration_id=None,
        conditions=CONDITIONS,
        seed=seed,
        round=1,
    )


def some_evidence(
    n: int,
    *,
    rng: np.random.Generator,
    error_at: float = 0.3,
    pool: int = 1_000,
    meta: Sequence[dict[str, str]] = ({},),
) -> Evidence:
    """Items whose pre-labels are the more often right the higher they score: P(wrong) falls from ``error_at`` to 0."""
    scores, pooled = rng.uniform(0.0, 1.0, n), rng.uniform(0.0, 1.0, pool)
    wrong = rng.uniform(size=n) < error_at * (1.0 - scores)
    judged = [
        _judged(number, float(score), is_wrong=bool(flag), meta=meta[number % len(meta)])
        for number, (score, flag) in enumerate(zip(scores, wrong, strict=True))
    ]
    others = [
        (an_item(f"other {number}", **meta[number % len(meta)]), a_pre_label(float(score)))
        for number, score in enumerate(pooled)
    ]
    return Evidence(judged=judged, pending=0, pool=others, population=pool)


def _judged(number: int, score: float, *, is_wrong: bool, meta: dict[str, str]) -> Judged:
    pre_label = a_pre_label(score, digest=f"{number:064x}")
    said = pre_label.prediction.annotations
    right = tuple(replace(annotation, label="place") for annotation in said) if is_wrong else said
    return Judged(
        prelabel_id=number + 1,
        item=an_item(f"item {number}", **meta),
        pre_label=pre_label,
        answer=right,
        is_shown=False,
        rate=0.1,
    )
