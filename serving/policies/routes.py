"""Serves the HTTP routes that show policies: what they promise, what they stand on, how their audits do."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from models.types import Task
from pipelines.store.policies import Policies
from serving.body import StrictRoute
from serving.policies.views import report_view, stored_view
from serving.service_of import ServiceOf

routes = APIRouter(route_class=StrictRoute, tags=["policies"])


@routes.get("/policies")
async def policies(
    service: ServiceOf, task: Annotated[Task | None, Query(description="of this task alone")] = None
) -> dict[str, list[dict[str, Any]]]:
    """The certified policies, the newest round of each task first, with their states and what happened to them."""
    return {"policies": [stored_view(one) for one in await Policies(service.store).list(task=task)]}


@routes.get("/policies/{policy_id}", responses={404: {"description": "There is no such policy."}})
async def policy(
    policy_id: Annotated[str, Path(max_length=256, description="the policy's id")],
    service: ServiceOf,
    run: Annotated[str | None, Query(max_length=256, description="the audits of this run alone")] = None,
) -> dict[str, Any]:
    """A policy, what people's answers to its audits say of its promise, and whether its items have changed since."""
    stored = await Policies(service.store).get(policy_id)
    report, drift = await service.watch.report(stored.policy, run_id=run), await service.watch.drift(policy_id)
    return stored_view(stored) | {"audits": report_view(report), "drift": [asdict(one) for one in drift]}
