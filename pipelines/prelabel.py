"""Takes an item from its bytes to a decision: fetch, predict, check, measure, decide, store."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Protocol

from models.errors import ItemError, OverloadedError, PrelabelError
from models.types import Content, Item, Prediction, Priority, Prompts, Task
from pipelines.calibration import Calibration
from pipelines.disagreement.disagreement import Disagreement
from pipelines.policy import Policy
from pipelines.standards import Published, Standards, is_large
from pipelines.tasks import TaskCard, chained, prompts_from, uncertainty
from pipelines.types import Failed, Failure, Labelled, ModelUse, Outcome, PreLabel, Provenance

logger = logging.getLogger(__name__)

_AT_ONCE = 128  # several batches of a model, and a part of its queue, which holds 512 unless its card says otherwise
_LARGE_BYTES = 2**20  # above it, hashing would hold up the event loop for more than a millisecond


class Models(Protocol):
    """The deployed models, in this process or behind handles.

    ``deadline_s`` is how long from now the answer is of use; None for as long as it takes.
    """

    async def predict(
        self, model: str, content: Content, *, priority: Priority, deadline_s: float | None
    ) -> Prediction: ...

    def use_of(self, model: str) -> ModelUse: ...


class Fetches(Protocol):
    """What opens an item's content (pipelines/fetch/)."""

    async def fetch(self, item: Item) -> Content: ...


class Saves(Protocol):
    """What keeps outcomes and queues the reviews (pipelines/store); answers what was stored."""

    def check_room(self) -> None:
        """Raise OverloadedError when so much waits to be stored that more would only wait."""
        ...

    async def save(self, outcomes: Sequence[Outcome], *, run_id: str | None, begin_by: float | None) -> list[Outcome]:
        """Store all or nothing; OverloadedError, and nothing, if it cannot begin by then (in the loop's time)."""
        ...


class Knows(Protocol):
    """What remembers the pre-labels of contents (pipelines/recent.py)."""

    async def find(self, digest: str) -> PreLabel | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One item and what to do with it."""

    item: Item
    task: Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Urgency:
    """Whether somebody waits for an item, and until when, in the running loop's time."""

    priority: Priority
    deadline: float | None

    def remaining_s(self) -> float | None:
        return None if self.deadline is None else self.deadline - asyncio.get_running_loop().time()


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Everything the flow calls on its way. What ``policies`` and ``calibrations`` hold may change while it runs.

    Storing may begin up to ``save_s`` seconds past a deadline, so that what is ready by then is kept. What is ``known``
    of a content, from the same models and configuration, is not computed again. What the models say is published as the
    ``standards`` have it.
    """

    fetcher: Fetches
    models: Models
    tasks: Mapping[Task, TaskCard]
    policies: Mapping[Task, Policy]
    store: Saves
    clock: Callable[[], datetime]
    calibrations: Mapping[Task, Calibration] = field(default_factory=dict)
    extras: Mapping[Task, Sequence[Disagreement]] = field(default_factory=dict)
    standards: Standards = field(default_factory=Standards)
    save_s: float = 2.0
    known: Knows | None = None


async def pre_label_all(
    requests: Sequence[Request | Failed],
    flow: Flow,
    *,
    run_id: str | None = None,
    priority: Priority = "interactive",
    deadline_s: float | None = None,
) -> list[Outcome]:
    """Label items and store what came out, one outcome for each request, in order.

    Items go through side by side, at most 128 at once, so that one large call does not fill the models' queues; the
    engines gather them into batches, in which interactive items overtake bulk ones. An item that is not done
    ``deadline_s`` seconds from now fails with the code timeout, the others are kept. What failed before it got here
    stays failed. Without a ``run_id`` they are a run of their own.

    Raises:
        OverloadedError: the models' queues are so full that nothing got through, or the store cannot keep up, which is
            known before the work or some time after the deadline; nothing is stored.
    """
    flow.store.check_room()
    deadline = None if deadline_s is None else asyncio.get_running_loop().time() + deadline_s
    slots = asyncio.Semaphore(_AT_ONCE)
    outcomes = await asyncio.gather(
        *(pre_label(request, flow, priority=priority, deadline_s=deadline_s, slots=slots) for request in requests)
    )
    if outcomes and all(_is_shed(outcome) for outcome in outcomes):
        raise OverloadedError(message="every model's queue is full; try again later")
    begin_by = None if deadline is None else deadline + flow.save_s
    return await flow.store.save(outcomes, run_id=run_id, begin_by=begin_by)


def _is_shed(outcome: Outcome) -> bool:
    return isinstance(outcome, Failed) and outcome.failure.code == OverloadedError().code


async def pre_label(
    request: Request | Failed,
    flow: Flow,
    *,
    priority: Priority = "interactive",
    deadline_s: float | None = None,
    slots: AbstractAsyncContextManager[None] | None = None,
) -> Outcome:
    """Label one item once a slot is free; a failure is an outcome, not an exception."""
    if isinstance(request, Failed):
        return request
    try:
        async with asyncio.timeout(deadline_s) as limit, slots or nullcontext():
            return await _label(request, flow, Urgency(priority=priority, deadline=limit.when()))
    except PrelabelError as err:
        failure = Failure(code=err.code, message=err.message)
    except TimeoutError:
        failure = Failure(
            code="timeout", message=f"not done within {deadline_s} s; raise deadline_s or send fewer items"
        )
    except Exception:
        logger.exception("labelling item '%s' failed unexpectedly", request.item.id)
        failure = Failure(code="internal", message="the service failed on this item; its log says why")
    return Failed(item=request.item, task=request.task, failure=failure)


async def _label(request: Request, flow: Flow, urgency: Urgency) -> Labelled:
    item, task = request.item, request.task
    card = _task_card(item, task, flow.tasks)
    content = await _with_digest(await flow.fetcher.fetch(item))
    pre_label = await _known(item, content, flow) or await _computed(request, card, content, flow, urgency)
    return _decided(item, task, pre_label, flow.policies[task])


def _decided(item: Item, task: Task, pre_label: PreLabel, policy: Policy) -> Labelled:
    """The outcome under the policy that is in force at the end, not when the item came."""
    pre_label = replace(pre_label, provenance=replace(pre_label.provenance, policy_id=policy.id))
    return Labelled(item=item, task=task, pre_label=pre_label, decision=policy.decide(item, task, pre_label))


async def _known(item: Item, content: Content, flow: Flow) -> PreLabel | None:
    """What was said of the same content before; nothing if the item asks for something of its own."""
    if flow.known is None or item.prompts != Prompts() or content.digest is None:
        return None
    if (known := await flow.known.find(content.digest)) is None:
        return None
    return replace(known, provenance=replace(known.provenance, created_at=flow.clock()))


async def _computed(request: Request, card: TaskCard, content: Content, flow: Flow, urgency: Urgency) -> PreLabel:
    prediction, ran = await _predict(card, content, flow.models, urgency)
    published, doubts = await asyncio.gather(
        _published(prediction, ran, request, content, flow), _doubts(card.task, content, prediction, flow, urgency)
    )
    provenance = _provenance(ran, content, flow)
    prediction, confidence = published.prediction, None
    if (calibration := _calibration(card.task, provenance, flow)) is not None:
        prediction, confidence = calibration.confident(prediction)
        provenance = replace(provenance, calibration_id=calibration.id)
    return PreLabel(
        prediction=prediction,
        confidence=confidence,
        calibrated=confidence is not None,
        uncertainty=uncertainty(card.task, prediction.signals) | doubts,
        provenance=provenance,
        findings=published.findings,
        more_findings=published.more_findings,
        unmapped=published.unmapped,
    )


def _task_card(item: Item, task: Task, tasks: Mapping[Task, TaskCard]) -> TaskCard:
    if task not in tasks:
        raise ItemError("unknown_task", f"task '{task}' is not deployed here; deployed: {', '.join(sorted(tasks))}")
    if item.media != tasks[task].media:
        raise ItemError("wrong_media", f"task '{task}' takes {tasks[task].media}; item '{item.id}' is {item.media}")
    return tasks[task]


async def _predict(
    card: TaskCard, content: Content, models: Models, urgency: Urgency
) -> tuple[Prediction, list[ModelUse]]:
    """Run the task's models in order, and name those that ran.

    Prompts given by the caller stand in for the models that would make them. A model that finds nothing ends the chain.
    """
    chain = card.models[-1:] if content.prompts.boxes or content.prompts.points else card.models
    whole, ran = Prediction(), list[ModelUse]()
    for model in chain:
        prediction = await models.predict(model, content, priority=urgency.priority, deadline_s=urgency.remaining_s())
        whole = chained(whole, prediction) if ran else prediction
        ran.append(models.use_of(model))
        if not prediction.annotations:
            break
        content = replace(content, prompts=prompts_from(prediction))
    return whole, ran


async def _published(
    prediction: Prediction, ran: Sequence[ModelUse], request: Request, content: Content, flow: Flow
) -> Published:
    """The prediction as it may be published; a large one is checked beside the event loop."""
    publish = partial(
        flow.standards.publish,
        prediction,
        task=request.task,
        models=[use.name for use in ran],
        wanted=request.item.prompts.labels,
        text=_text(content),
    )
    return await asyncio.to_thread(publish) if is_large(prediction) else publish()


def _text(content: Content) -> str | None:
    """A text as its spans count it (models/media/text.py); None for other media."""
    return content.data.decode().replace("\0", "\ufffd") if content.media == "text" else None


async def _doubts(
    task: Task, content: Content, prediction: Prediction, flow: Flow, urgency: Urgency
) -> dict[str, float]:
    """What the task's extras find when they ask once more."""
    found: dict[str, float] = {}
    for extra in flow.extras.get(task, ()):
        found |= await extra.measure(
            content, prediction, flow.models, priority=urgency.priority, deadline_s=urgency.remaining_s()
        )
    return found


def _calibration(task: Task, provenance: Provenance, flow: Flow) -> Calibration | None:
    """What calibrates the scores of exactly these models; None while nothing does."""
    calibration = flow.calibrations.get(task)
    if calibration is None or not calibration.applies_to(provenance.chain, provenance.config_digest):
        return None
    return calibration


def _provenance(ran: Sequence[ModelUse], content: Content, flow: Flow) -> Provenance:
    return Provenance(
        model=ran[-1].name,
        model_version=ran[-1].version,
        weights_digest=ran[-1].weights_digest,
        config_digest=ran[-1].config_digest,
        chain=tuple(map(str, ran)),
        calibration_id=None,
        policy_id=None,  # until one has decided
        item_digest=content.digest or "",
        created_at=flow.clock(),
        rules_digest=flow.standards.rules_digest,
        ontology_digest=flow.standards.ontology_digest,
    )


async def _with_digest(content: Content) -> Content:
    data = content.data
    digest = hashlib.sha256(data) if len(data) < _LARGE_BYTES else await asyncio.to_thread(hashlib.sha256, data)
    return replace(content, digest=digest.hexdigest())
