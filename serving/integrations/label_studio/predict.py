"""Answers ``/predict``: at once what is quick, until the deadline what is ready, and later the rest."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from models.errors import OverloadedError
from models.types import Prompts
from pipelines.errors import StoreUnavailableError
from pipelines.formats.label_studio.context import prompts
from pipelines.prelabel import Flow, Request, pre_label, pre_label_all
from pipelines.store.label_studio.connections import Connection
from pipelines.store.label_studio.deliveries import Deliveries, Key, Wanted
from pipelines.types import Labelled, Outcome
from serving.integrations.label_studio.call import FAILED, Bound, Refused, Slot, filled, prediction_of, wanted
from serving.integrations.label_studio.version import current_version
from serving.service import Service

logger = logging.getLogger(__name__)

_AT_A_TIME = 256  # items that are labelled and stored together, or read and written together
_MANY = 200  # tasks, above which they are read in a thread: 20,000 hold the loop up for about a second
_FIRST_LOOK_S, _LONGEST_LOOK_S = 0.1, 1.0  # for what a run has come to
_STORE_S = 5.0  # that the store may take beyond a call's deadline, which is well before Label Studio's
_LET_GO_S = 1.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One ``/predict``: its tasks, as items or as what is wrong with them, and until when they are waited for.

    ``until`` is in the running loop's time.
    """

    bound: Bound
    version: str
    labels_with: Mapping[str, str] | None = None
    tasks: Sequence[Wanted | Refused]
    until: float

    @property
    def wanted(self) -> dict[Key, Wanted]:
        return {one.key: one for one in self.tasks if isinstance(one, Wanted)}

    @property
    def is_alone(self) -> bool:
        """Whether somebody has opened a task and waits for it."""
        return len(self.tasks) == 1

    def remaining_s(self) -> float:
        return max(0.0, self.until - asyncio.get_running_loop().time())

    def slot(self, labelled: Labelled) -> Slot:
        """What Label Studio is told of an outcome."""
        try:
            return prediction_of(self.bound, labelled, version=self.version)
        except Exception:  # an error would cost all the call's tasks
            logger.exception("what was found in item '%s' cannot be written", labelled.item.id)
            return FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A slot for each task, in order; ``promised`` are those of a connection that stand in it."""

    slots: list[Slot]
    promised: frozenset[Key] = field(default_factory=frozenset)


async def call_of(
    service: Service, bound: Bound, tasks: Sequence[Any], *, server_url: str | None, answer_s: float
) -> Call:
    """A call, from what was sent."""
    version = current_version(service.settings, service.models, service.flow, bound.task)
    until = asyncio.get_running_loop().time() + answer_s
    read = partial(_wanted, tasks, bound, server_url=server_url)
    return Call(
        bound=bound,
        version=version.name,
        labels_with=version.labels_with,
        tasks=await asyncio.to_thread(read) if len(tasks) > _MANY else read(),
        until=until,
    )


def _wanted(tasks: Sequence[Any], bound: Bound, *, server_url: str | None) -> list[Wanted | Refused]:
    return [wanted(task, bound, server_url=server_url) for task in tasks]


async def interactive(call: Call, context: Mapping[str, Any], flow: Flow) -> Answer:
    """What fits what a person has just drawn; it is not stored, and queued for nobody."""
    return Answer(slots=[await _drawn(call, one, prompts(call.bound.binding, context), flow) for one in call.tasks])


async def _drawn(call: Call, one: Wanted | Refused, drawn: Prompts, flow: Flow) -> Slot:
    if isinstance(one, Refused):
        return FAILED
    request = Request(item=replace(one.item, prompts=drawn), task=call.bound.task)
    if drawn != Prompts():  # what bears the project's own labels needs no ontology, which may not have them
        flow = replace(flow, standards=replace(flow.standards, ontology=None))
    outcome = await pre_label(request, flow, priority="interactive", deadline_s=call.remaining_s())
    return _slot(call, outcome)


async def unconnected(call: Call, flow: Flow) -> Answer:
    """What is ready by the deadline. Nobody knows where the rest could be sent, so Label Studio has to ask again."""
    return Answer(slots=filled(call.tasks, await _ready_now(call, call.wanted.values(), flow)))


async def _ready_now(call: Call, wanted: Iterable[Wanted], flow: Flow) -> dict[Key, Slot]:
    """What is found by the deadline, for whoever asks now and nobody else."""
    ready = dict[Key, Slot]()
    with suppress(TimeoutError):
        async with asyncio.timeout_at(call.until + _STORE_S):
            for part in _parts(wanted):
                if not call.remaining_s():
                    break
                ready |= await _labelled_now(call, part, flow, run_id=None)
    return ready


async def _labelled_now(call: Call, part: Iterable[Wanted], flow: Flow, *, run_id: str | None) -> dict[Key, Slot]:
    """What was found in these items by the deadline."""
    wanted = list(part)
    requests = [Request(item=one.item, task=call.bound.task) for one in wanted]
    try:
        outcomes = await pre_label_all(
            requests,
            flow,
            run_id=run_id,
            priority="interactive" if call.is_alone else "bulk",
            deadline_s=call.remaining_s(),
        )
    except (OverloadedError, StoreUnavailableError) as err:  # a status would cost all tasks, and is shown to nobody
        logger.warning("%s tasks of Label Studio are not labelled now: %s", len(wanted), err.message)
        return {}
    return {one.key: _slot(call, outcome) for one, outcome in zip(wanted, outcomes, strict=True)}


def _slot(call: Call, outcome: Outcome) -> Slot:
    return call.slot(outcome) if isinstance(outcome, Labelled) else FAILED


class Connected:
    """Answers the calls of a connected project, which gets by the deadline what is ready, and the rest when it is.

    What is wanted is noted before it is labelled. Few tasks are labelled here; more become a run, which goes on
    whatever happens to this process, and whose results are pushed where no answer has brought them.
    """

    def __init__(self, service: Service, connection: Connection, flow: Flow) -> None:
        self._service, self._connection, self._flow = service, connection, flow
        self._deliveries = Deliveries(service.store, connection.id)

    async def answer(self, call: Call) -> Answer:
        """The slots for the tasks, each of which is promised to this call alone."""
        named = {key: one for key, one in call.wanted.items() if one.task_id}
        nameless = [one for one in call.wanted.values() if not one.task_id]
        ready, promised = await _ready_now(call, nameless, self._flow), set[Key]()
        try:
            async with asyncio.timeout_at(call.until + _STORE_S):
                found = await self._answer(call, named) if named else {}
            ready, promised = ready | found, set(found)
        except (StoreUnavailableError, TimeoutError):
            logger.warning("%s is answered without what the store knows, as it is down", self._connection.name)
        return Answer(slots=filled(call.tasks, ready), promised=frozenset(promised))

    async def sent(self, call: Call, answer: Answer) -> None:
        """Note that an answer has left; without that it is looked up as if nobody knew."""
        if answer.promised:
            with suppress(StoreUnavailableError):
                await self._deliveries.answered(answer.promised, version=call.version)

    async def _answer(self, call: Call, wanted: Mapping[Key, Wanted]) -> dict[Key, Slot]:
        """What may stand in the answer of these."""
        service, keys = self._service, set(wanted)
        online_run = f"label-studio-{self._connection.id}-{call.version}"
        begun = await self._deliveries.begin(
            list(wanted.values()),
            version=call.version,
            task=call.bound.task,
            online_run=await service.store.start_run("label-studio", run_id=online_run),
            new_run=f"label-studio-{uuid.uuid4().hex[:12]}",
            few=service.settings.label_studio.few_tasks,
            held_s=call.remaining_s() + service.settings.label_studio.margin_s,
            fingerprint=call.labels_with,
        )
        try:
            if not begun.is_posted:
                few = [wanted[key] for key in begun.keys]
                await _labelled_now(call, few, self._flow, run_id=begun.run_id)
            ready = await self._gathered(call, keys, later=keys if begun.is_posted else keys - begun.keys)
            promised = await self._deliveries.promise(
                ready, version=call.version, began_at=begun.at, is_alone=call.is_alone
            )
        finally:
            await self._let_go(call, keys)
        return {key: ready[key] for key in promised}

    async def _let_go(self, call: Call, keys: set[Key]) -> None:
        """Let what is not promised be pushed; without that it is held until some time after the deadline."""
        with suppress(StoreUnavailableError, TimeoutError):
            async with asyncio.timeout(_LET_GO_S):
                await self._deliveries.let_go(keys, version=call.version)

    async def _gathered(self, call: Call, keys: set[Key], *, later: set[Key]) -> dict[Key, Slot]:
        """What is found by the deadline, written as it comes; only of ``later`` more can be found later."""
        ready, missing, pause_s = dict[Key, Slot](), set(keys), _FIRST_LOOK_S
        while True:
            finished = await self._deliveries.finished(missing, version=call.version)
            missing = (missing - finished) & later
            for part in _parts(finished):
                found = await self._deliveries.labelled(part, version=call.version)
                ready |= await asyncio.to_thread(_slots, call, found)
            if not missing or not call.remaining_s():
                return ready
            await asyncio.sleep(min(pause_s, call.remaining_s()))
            pause_s = min(2 * pause_s, _LONGEST_LOOK_S)


def _slots(call: Call, found: Mapping[Key, Labelled]) -> dict[Key, Slot]:
    return {key: call.slot(labelled) for key, labelled in found.items()}


def _parts(values: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(values)
    while part := list(islice(rest, _AT_A_TIME)):
        yield part
