"""Serves the HTTP routes for samples: choose what a human should label next, and see what was chosen."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import ConfigDict, Field

from models.types import Task
from pipelines.sample import SampleRequest, draw
from pipelines.sampling import Strategy
from pipelines.store.samples import Samples
from serving.body import Body, StrictRoute
from serving.samples.answer import SampleAnswer, answer
from serving.samples.queues import queues_of
from serving.service_of import ServiceOf

_MOST = 100_000

routes = APIRouter(route_class=StrictRoute, tags=["samples"])


class SampleBody(Body):
    """What to choose: ``budget`` items of a ``run``, or of all runs of a ``task``.

    A tenth of them (``explore``) is drawn uniformly from all items, and is reviewed without the pre-label being shown,
    where no human has reviewed it yet; the ``strategy`` chooses the rest from what no human has labelled. ``group_by``
    is a key of the items' meta, for ``quotas`` and the strategy stratified. ``radius`` keeps near-duplicates out;
    ``most_cost`` bounds 1 + annotations (recordings: 1 + seconds) of all together. ``sample`` makes the call
    repeatable: the same id chooses nothing anew.
    """

    budget: int = Field(ge=1, le=_MOST)
    run: str | None = Field(default=None, min_length=1, max_length=256)
    task: Task | None = None
    strategy: Strategy = "hybrid"
    explore: float = Field(default=0.1, ge=0, le=1)
    group_by: str | None = Field(default=None, min_length=1, max_length=256)
    quotas: dict[str, int] = Field(default_factory=dict, max_length=1_000)
    radius: float | None = Field(default=None, ge=0)
    most_cost: float | None = Field(default=None, ge=0)
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    queue: str | None = Field(default=None, min_length=1, max_length=256)
    sample: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    dry_run: bool = False

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"run": "3f0c92d1b7aa", "budget": 200},
                {"task": "ner", "budget": 50, "strategy": "margin", "group_by": "source", "quotas": {"mail": 20}},
            ]
        }
    )


@routes.post("/samples", responses={409: {"description": "The id is that of another sample."}})
async def post_sample(body: SampleBody, service: ServiceOf) -> SampleAnswer:
    """Choose which items a human should label next, and queue their reviews; with `dry_run` only choose."""
    request = SampleRequest(
        id=body.sample,
        task=body.task,
        run_id=body.run,
        budget=body.budget,
        strategy=body.strategy,
        explore=body.explore,
        group_by=body.group_by,
        quotas=body.quotas,
        radius=body.radius,
        most_cost=body.most_cost,
        seed=body.seed,
        queue=body.queue,
    )
    return answer(await draw(service.store, request, queues=queues_of(service.settings), is_dry=body.dry_run))


@routes.get("/samples/{sample_id}", responses={404: {"description": "There is no such sample."}})
async def get_sample(
    sample_id: Annotated[str, Path(max_length=256, description="the sample's id")], service: ServiceOf
) -> SampleAnswer:
    """What was chosen, from what, and why."""
    return answer(await Samples(service.store).read(sample_id))
