"""Serves the HTTP route for what reviewers changed in pre-labels."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel

from models.types import Task
from pipelines.errors import InvalidRequestError
from pipelines.store.ledger import Ledger
from pipelines.store.totals import GROUPINGS, Chosen, Totals
from serving.body import StrictRoute
from serving.service_of import ServiceOf

routes = APIRouter(route_class=StrictRoute, tags=["reviews"])


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


class Corrections(BaseModel):
    """The groups in their order; none where nothing was reviewed."""

    by: str | None
    groups: list[CorrectionGroup]


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


@routes.get("/corrections")
async def get_corrections(
    service: ServiceOf,
    by: Annotated[str | None, Query(max_length=256, description=f"one of: {', '.join(GROUPINGS)}")] = None,
    task: Task | None = None,
    run: Annotated[str | None, Query(max_length=256, description="a run's id")] = None,
    label: Annotated[str | None, Query(max_length=256, description="reviews in which this class occurs")] = None,
    slice: Annotated[str | None, Query(max_length=512, description="KEY=VALUE, of the items' meta")] = None,
    stream: Annotated[str | None, Query(max_length=64, description="routed, random, sampled or gold")] = None,
    since: Annotated[AwareDatetime | None, Query(description="answered then or later; with a time zone")] = None,
) -> Corrections:
    """What reviewers changed: how much is accepted as it is, what is wrong with the rest, and what that costs."""
    chosen = Chosen(task=task, run_id=run, label=label, slice=slice_named(slice), stream=stream, since=since)
    totals = await Ledger(service.store).totals(by, chosen=chosen)
    return Corrections(by=by, groups=[CorrectionGroup.of(group) for group in totals])
