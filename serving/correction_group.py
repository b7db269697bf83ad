"""Shapes what reviewers changed for HTTP and the command line."""

from __future__ import annotations

from pydantic import BaseModel

from pipelines.errors import InvalidRequestError
from pipelines.store.totals import Totals


class CorrectionGroup(BaseModel):
    """What reviewers changed in a group of pre-labels; a rate is null where there is nothing to take it of.

    The counts of annotations and acceptance_rate, untouched_rate and cost are of the reviews in which the pre-label was
    shown; right, wrong, missed, precision, recall and errors are of all. cost is in seconds by assumption, seconds what
    reviewers said they took (median). Grouped by label, what belongs to whole items is null.
    """

    group: str
    reviews: int
    shown: int
    untouched: int | None
    unchanged: int
    edited: int
    rejected: int
    added: int
    acceptance_rate: float | None
    untouched_rate: float | None
    right: int
    wrong: int
    missed: int
    precision: float | None
    recall: float | None
    cost: float | None
    seconds: float | None
    iou: float | None
    span_f1: float | None
    wer: float | None
    errors: dict[str, int]

    @staticmethod
    def of(totals: Totals) -> CorrectionGroup:
        return CorrectionGroup(**{name: getattr(totals, name) for name in CorrectionGroup.model_fields})


def slice_named(said: str | None) -> tuple[str, str] | None:
    """A slice as KEY=VALUE.

    Raises:
        InvalidRequestError: it is no such pair.
    """
    if said is None:
        return None
    key, sign, value = said.partition("=")
    if not (key and sign):
        raise InvalidRequestError("invalid_argument", f"a slice is KEY=VALUE, of the items' meta; got '{said}'")
    return key, value
