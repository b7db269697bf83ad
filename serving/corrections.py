"""Serves the HTTP route for what reviewers changed in pre-labels."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel

from models.types import Task
from pipelines.store.ledger import Ledger
from pipelines.store.totals import GROUPINGS, Chosen
from serving.body import StrictRoute
from serving.correction_group import CorrectionGroup, slice_named
from serving.service_of import ServiceOf

routes = APIRouter(route_class=StrictRoute, tags=["reviews"])


class Corrections(BaseModel):
    """The groups in their order; none where nothing was reviewed."""

    by: str | None
    groups: list[CorrectionGroup]


@routes.get("/corrections")
async def get_corrections(
    service: ServiceOf,
    by: Annotated[str | None, Query(max_length=256, description=f"one of: {', '.join(GROUPINGS)}")] = None,
    task: Task | None = None,
    run: Annotated[str | None, Query(max_length=256, description="a run's id")] = None,
    label: Annotated[str | None, Query(max_length=256, description="reviews in which this class occurs")] = None,
    slice: Annotated[str | None, Query(max_length=512, description="KEY=VALUE, of the items' meta")] = None,
    stream: Annotated[
        str | None, Query(max_length=64, description="routed, random, sampled, gold or volunteered")
    ] = None,
    since: Annotated[AwareDatetime | None, Query(description="answered then or later; with a time zone")] = None,
) -> Corrections:
    """What reviewers changed: how much is accepted as it is, what is wrong with the rest, and what that costs."""
    chosen = Chosen(task=task, run_id=run, label=label, slice=slice_named(slice), stream=stream, since=since)
    totals = await Ledger(service.store).totals(by, chosen=chosen)
    return Corrections(by=by, groups=[CorrectionGroup.of(group) for group in totals])
