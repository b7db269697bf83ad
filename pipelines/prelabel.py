"""Takes an item from its bytes to a decision: fetch, predict, measure, decide, store."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from models.errors import ItemError, PrelabelError
from models.types import Content, Item, Prediction, Task
from pipelines.policy import Policy
from pipelines.tasks import TaskCard, chained, only, prompts_from, uncertainty
from pipelines.types import Failed, Failure, Labelled, ModelUse, Outcome, PreLabel, Provenance


class Models(Protocol):
    """The deployed models, in this process or behind handles."""

    async def predict(self, model: str, content: Content) -> Prediction: ...

    def use_of(self, model: str) -> ModelUse: ...


class Fetches(Protocol):
    """What opens an item's content (pipelines/fetch.py)."""

    async def fetch(self, item: Item) -> Content: ...


class Saves(Protocol):
    """What keeps outcomes and queues the reviews (pipelines/store)."""

    async def save(self, outcomes: Sequence[Outcome], *, run_id: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One item and what to do with it."""

    item: Item
    task: Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Everything the flow calls on its way."""

    fetcher: Fetches
    models: Models
    tasks: Mapping[Task, TaskCard]
    policies: Mapping[Task, Policy]
    store: Saves
    clock: Callable[[], datetime]


async def pre_label_all(
    requests: Sequence[Request | Failed], flow: Flow, *, run_id: str, deadline_s: float | None = None
) -> list[Outcome]:
    """Label items and store what came out, one outcome for each request, in order.

    Items go through side by side; the engines gather them into batches. An item that is not done within ``deadline_s``
    seconds fails with the code timeout, the others are kept. What failed before it got here stays failed.
    """
    outcomes = await asyncio.gather(*(pre_label(request, flow, deadline_s=deadline_s) for request in requests))
    await flow.store.save(outcomes, run_id=run_id)
    return outcomes


async def pre_label(request: Request | Failed, flow: Flow, *, deadline_s: float | None = None) -> Outcome:
    """Label one item; a failure is an outcome, not an exception."""
    if isinstance(request, Failed):
        return request
    try:
        async with asyncio.timeout(deadline_s):
            return await _label(request.item, request.task, flow)
    except PrelabelError as err:
        failure = Failure(code=err.code, message=err.message)
    except TimeoutError:
        failure = Failure(
            code="timeout", message=f"not done within {deadline_s} s; raise deadline_s or send fewer items"
        )
    return Failed(item=request.item, task=request.task, failure=failure)


async def _label(item: Item, task: Task, flow: Flow) -> Labelled:
    card = _task_card(item, task, flow.tasks)
    content = await flow.fetcher.fetch(item)
    prediction = only(await _predict(card, content, flow.models), item.prompts.labels)
    pre_label = PreLabel(
        prediction=prediction,
        confidence=None,  # until a calibration has been fitted for this model version and task
        calibrated=False,
        uncertainty=uncertainty(task, prediction.signals),
        provenance=_provenance(card, content, flow),
    )
    decision = flow.policies[task].decide(task, pre_label)
    return Labelled(item=item, task=task, pre_label=pre_label, decision=decision)


def _task_card(item: Item, task: Task, tasks: Mapping[Task, TaskCard]) -> TaskCard:
    if task not in tasks:
        raise ItemError("unknown_task", f"task '{task}' is not deployed here; deployed: {', '.join(sorted(tasks))}")
    if item.media != tasks[task].media:
        raise ItemError("wrong_media", f"task '{task}' takes {tasks[task].media}; item '{item.id}' is {item.media}")
    return tasks[task]


async def _predict(card: TaskCard, content: Content, models: Models) -> Prediction:
    """Run the task's models in order. Prompts given by the caller stand in for the models that would make them."""
    *before, last = card.models
    if content.prompts.boxes or content.prompts.points:
        return await models.predict(last, content)
    prediction = None
    for model in before:
        prediction = await models.predict(model, content)
        if not prediction.annotations:
            return prediction
        content = replace(content, prompts=prompts_from(prediction))
    answer = await models.predict(last, content)
    return answer if prediction is None else chained(prediction, answer)


def _provenance(card: TaskCard, content: Content, flow: Flow) -> Provenance:
    uses = [flow.models.use_of(model) for model in card.models]
    return Provenance(
        model=uses[-1].name,
        model_version=uses[-1].version,
        weights_digest=uses[-1].weights_digest,
        config_digest=uses[-1].config_digest,
        chain=tuple(f"{use.name}@{use.version}:{use.weights_digest[:12]}" for use in uses),
        calibration_id=None,
        policy_id=flow.policies[card.task].id,
        item_digest=hashlib.sha256(content.data).hexdigest(),
        created_at=flow.clock(),
    )
