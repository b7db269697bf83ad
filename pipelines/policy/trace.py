"""Follows a certificate's figures back to the pre-labels and the reviews that they are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipelines.calibration import Calibration
from pipelines.corrections.acceptable import loss
from pipelines.policy.certified import CertifiedPolicy
from pipelines.policy.evidence import Judged
from pipelines.policy.scoring import score, scored_again


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """One label behind a certificate.

    Attributes:
        prelabel_id, review_id: rows of the tables prelabels and reviews; no review where nobody could answer.
        score, loss: what the policy scores the pre-label with, and how wrong it was; 1.0 without an answer.
        is_accepted: whether it reaches the certified threshold of its slice.
        is_kept: whether a tier keeps it for humans, whatever it scores.
    """

    slice: str
    item_id: str
    prelabel_id: int
    review_id: int | None
    score: float
    loss: float
    is_accepted: bool
    is_kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Recount:
    """The figures of a slice's certificate, counted again from its rows, and whether they are the same."""

    slice: str
    n: int
    n_accepted: int
    errors: float
    is_same: bool


def trace(judged: Iterable[Judged], policy: CertifiedPolicy, calibration: Calibration | None) -> list[Traced]:
    """A row for each label that a policy was certified on.

    Args:
        judged: the members of the random sample that certified it (EvidenceReader.certified_on).
    """
    acceptable = policy.terms.acceptable(policy.task)
    rows: list[Traced] = []
    for one in judged:
        slice_ = policy.terms.slice_of(one.item)
        pre_label = scored_again(one.pre_label, calibration)
        safety, said = score(policy.task, pre_label), one.pre_label.prediction.annotations
        certificate = policy.certificates.get(slice_)
        is_kept = policy.keeps_for_humans(one.item, pre_label, safety)
        rows.append(
            Traced(
                slice=slice_,
                item_id=one.item.id,
                prelabel_id=one.prelabel_id,
                review_id=one.review_id,
                score=safety,
                loss=1.0 if one.answer is None else loss(policy.task, said, one.answer, acceptable),
                is_accepted=certificate is not None and safety >= certificate.threshold and not is_kept,
                is_kept=is_kept,
            )
        )
    return rows


def recount(rows: Sequence[Traced], policy: CertifiedPolicy) -> list[Recount]:
    """Every certificate's figures from its rows; of groups the rows are the items and the figures the groups', so that
    only the sum of losses can be compared."""
    counts: list[Recount] = []
    for name, certificate in policy.certificates.items():
        own = [row for row in rows if row.slice == name]
        if certificate.mode == "accepted_error":
            own = [row for row in own if not row.is_kept]
        accepted = [row for row in own if row.is_accepted]
        errors = sum(row.loss for row in accepted)
        is_same = abs(errors - certificate.errors) < 1e-9
        if policy.terms.group is None:
            is_same = is_same and (len(own), len(accepted)) == (certificate.n, certificate.n_accepted)
        counts.append(Recount(slice=name, n=len(own), n_accepted=len(accepted), errors=errors, is_same=is_same))
    return counts
