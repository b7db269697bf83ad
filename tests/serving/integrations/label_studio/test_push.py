"""Checks that every prediction gets to Label Studio once, whatever happens to the call that brings it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from models.types import Annotation, Item, Mask, Prediction, Task, TextSpan
from pipelines.policy import ThresholdPolicy
from pipelines.store import engine as database
from pipelines.store.label_studio.connections import Connection
from pipelines.store.label_studio.deliveries import Deliveries, Wanted, item_id
from pipelines.store.store import Store
from pipelines.types import Failed, Failure, Labelled, Outcome, PreLabel, Provenance
from serving.integrations.label_studio.api import LabelStudio
from serving.integrations.label_studio.errors import LabelStudioError
from serving.integrations.label_studio.push import Pusher
from tests.pipelines.formats.label_studio.builders import labels_tag, view
from tests.serving.integrations.label_studio.builders import connected_to, settings_of_all
from tests.serving.integrations.label_studio.studio import TOKEN, Fault, Studio, a_studio
from tests.serving.runs.builders import CUT_OFF, settings_over

pytestmark = CUT_OFF

VERSION = "prelabel-ner-0123456789ab"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owing:
    """A connected project to which a run's predictions are owed."""

    studio: Studio
    store: Store
    connection: Connection
    deliveries: Deliveries
    server: LabelStudio
    pusher: Pusher

    async def push(self) -> int:
        return await self.pusher.push(await self.server.project(self.connection.project_id))

    async def go_by(self) -> None:
        """So much time that what is in flight has arrived, if it ever does."""
        async with database.transaction(self.store.engine) as db:
            await db.execute(text("UPDATE label_studio_tasks SET changed_at = changed_at - interval '1 hour'"))
            await db.execute(text("UPDATE label_studio_tasks SET held_until = held_until - interval '1 hour'"))


def an_outcome(task_id: int, *, label: str = "person", start: int = 0) -> Labelled:
    span = Annotation(id="0", label=label, geometry=TextSpan(start=start, end=start + 1), score=0.9)
    provenance = Provenance(
        model="m",
        model_version="1",
        weights_digest="w",
        config_digest="c",
        calibration_id=None,
        policy_id="p",
        item_digest=f"x{task_id}",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    pre_label = PreLabel(
        prediction=Prediction(annotations=(span,)),
        confidence=None,
        calibrated=False,
        uncertainty={},
        provenance=provenance,
    )
    item = Item(id=item_id(task_id, "d"), media="text", text=f"text {task_id}")
    policy = ThresholdPolicy(queue="texts", accept_score=0.5)
    return Labelled(item=item, task="ner", pre_label=pre_label, decision=policy.decide(item, "ner", pre_label))


async def owe(
    store: Store,
    deliveries: Deliveries,
    outcomes: Sequence[Labelled | Failed],
    *,
    task_ids: Sequence[int],
    task: Task = "ner",
) -> None:
    """As after a run that no answer has waited for."""
    wanted = [Wanted(task_id=n, digest="d", item=one.item) for n, one in zip(task_ids, outcomes, strict=True)]
    begun = await deliveries.begin(wanted, version=VERSION, task=task, online_run="", new_run="run", few=0, held_s=0.0)
    given: list[Outcome] = list(outcomes)
    await store.save(given, run_id=begun.run_id, attempt=0)


@asynccontextmanager
async def owing(url: str, *, tasks: int = 3, outcomes: Callable[[int], Labelled] = an_outcome) -> AsyncIterator[Owing]:
    async with (
        a_studio(*(f"text {n + 1}" for n in range(tasks))) as studio,
        connected_to(url, studio.url, task="ner") as (store, connection, _),
        LabelStudio(studio.url, token=TOKEN, attempts=1) as server,
    ):
        deliveries = Deliveries(store, connection.id)
        ids = list(studio.tasks)
        await owe(store, deliveries, [outcomes(n) for n in ids], task_ids=ids)
        pusher = Pusher(settings_over(None, url), store, connection, server)
        yield Owing(
            studio=studio, store=store, connection=connection, deliveries=deliveries, server=server, pusher=pusher
        )


async def test_what_is_owed_is_pushed_once(postgres_url: str) -> None:
    async with owing(postgres_url) as owed:
        assert await owed.pusher.is_owing()

        sent = [await owed.push(), await owed.push()]

        assert sent == [3, 0]
        assert owed.studio.predicted() == {1: 1, 2: 1, 3: 1}
        assert not await owed.pusher.is_owing()
        row = owed.studio.predictions[0]
        assert (row["model_version"], row["score"]) == (VERSION, 0.9)
        assert row["result"][0]["value"] == {"start": 0, "end": 1, "text": "t", "labels": ["person"]}


@pytest.mark.parametrize("fault", ["lost after", "500 after", "lost before", "503 before"])
async def test_a_push_whose_answer_is_lost_is_looked_up_before_it_is_sent_again(
    postgres_url: str, fault: Fault
) -> None:
    async with owing(postgres_url) as owed:
        owed.studio.faults.append(fault)

        with pytest.raises(LabelStudioError):
            await owed.push()
        stored = len(owed.studio.predictions)
        await owed.go_by()
        await owed.pusher.look_up()
        sent = await owed.push()

        assert (stored, sent) == ((3, 0) if fault.endswith("after") else (0, 3))
        assert owed.studio.predicted() == {1: 1, 2: 1, 3: 1}
        assert await owed.deliveries.counts() == {"delivered": 3}


async def test_a_push_of_which_nobody_knows_is_not_sent_again_before_it_is_looked_up(postgres_url: str) -> None:
    async with owing(postgres_url) as owed:
        owed.studio.faults.append("lost after")
        with pytest.raises(LabelStudioError):
            await owed.push()

        assert await owed.push() == 0
        assert owed.studio.predicted() == {1: 1, 2: 1, 3: 1}
        assert await owed.deliveries.counts() == {"pushing": 3}


async def test_sending_again_without_looking_would_store_twice(postgres_url: str) -> None:
    """The negative control: the server of these tests does keep what comes twice."""
    async with owing(postgres_url) as owed:
        owed.studio.faults.append("lost after")
        with pytest.raises(LabelStudioError):
            await owed.push()
        async with database.transaction(owed.store.engine) as db:
            await db.execute(text("UPDATE label_studio_tasks SET state = 'open'"))

        await owed.push()

        assert owed.studio.predicted() == {1: 2, 2: 2, 3: 2}


async def test_a_process_that_is_killed_while_label_studio_stores_leaves_nothing_to_be_stored_twice(
    postgres_url: str,
) -> None:
    async with owing(postgres_url) as owed:
        owed.studio.stores.clear()
        killed = asyncio.create_task(owed.push())
        await owed.studio.importing.wait()
        killed.cancel()
        await asyncio.wait([killed])

        await owed.pusher.look_up()  # by the next process, at its start: nothing is to be seen yet
        sent = await owed.push()
        owed.studio.stores.set()
        async with asyncio.timeout(10.0):
            while not owed.studio.predictions:  # noqa: ASYNC110 - another process, as it were
                await asyncio.sleep(0.01)
        await owed.go_by()
        await owed.pusher.look_up()

        assert (sent, await owed.push()) == (0, 0)
        assert owed.studio.predicted() == {1: 1, 2: 1, 3: 1}
        assert await owed.deliveries.counts() == {"delivered": 3}


async def test_tasks_that_are_gone_cost_the_others_nothing(postgres_url: str) -> None:
    async with owing(postgres_url, tasks=5) as owed:
        del owed.studio.tasks[2], owed.studio.tasks[4]

        assert await owed.push() == 3

        assert owed.studio.predicted() == {1: 1, 3: 1, 5: 1}
        assert await owed.deliveries.counts() == {"delivered": 3, "failed": 2}
        assert not await owed.pusher.is_owing()


async def test_what_label_studio_leaves_out_in_silence_is_not_sent_for_ever(postgres_url: str) -> None:
    async with owing(postgres_url) as owed:
        owed.studio.left_out = {2}

        assert (await owed.push(), await owed.push()) == (2, 0)

        assert owed.studio.predicted() == {1: 1, 3: 1}
        assert await owed.deliveries.counts() == {"delivered": 2, "failed": 1}


async def test_what_is_too_large_for_one_call_is_sent_in_several(postgres_url: str) -> None:
    async with owing(postgres_url, tasks=5) as owed:
        owed.studio.faults.append("too large")

        assert await owed.push() == 5

        assert owed.studio.predicted() == dict.fromkeys(range(1, 6), 1)
        assert await owed.deliveries.counts() == {"delivered": 5}


async def test_a_label_studio_that_is_down_is_owed_everything(postgres_url: str) -> None:
    async with owing(postgres_url) as owed:
        project = await owed.server.project(2)
        owed.studio.is_down = True
        with pytest.raises(LabelStudioError):
            await owed.pusher.push(project)
        owed.studio.is_down = False
        await owed.go_by()
        await owed.pusher.look_up()

        assert await owed.push() == 3
        assert owed.studio.predicted() == {1: 1, 2: 1, 3: 1}


async def test_a_lookup_that_fails_settles_nothing(postgres_url: str) -> None:
    async with owing(postgres_url) as owed:
        owed.studio.faults.append("lost after")
        with pytest.raises(LabelStudioError):
            await owed.push()
        await owed.go_by()
        owed.studio.is_down = True

        with pytest.raises(LabelStudioError):
            await owed.pusher.look_up()

        assert await owed.deliveries.counts() == {"pushing": 3}


async def test_what_has_failed_for_good_is_set_aside(postgres_url: str) -> None:
    async with owing(postgres_url, tasks=1) as owed:
        item = replace(an_outcome(1).item, id=item_id(9, "d"))
        failure = Failure(code="unreadable_image", message="told to fail")
        wanted = [Wanted(task_id=9, digest="d", item=item)]
        await owed.deliveries.begin(
            wanted, version=VERSION, task="ner", online_run="", new_run="other", few=0, held_s=0.0
        )
        await owed.store.save([Failed(item=item, task="ner", failure=failure)], run_id="other", attempt=0)

        assert await owed.push() == 1

        assert await owed.deliveries.counts() == {"delivered": 1, "failed": 1}
        assert not await owed.pusher.is_owing()


async def test_a_project_that_cannot_show_predictions_for_a_while_gets_them_later(postgres_url: str) -> None:
    async with owing(postgres_url) as owed:
        right = owed.studio.label_config
        owed.studio.label_config = (
            '<View><Image name="i" value="$i"/><Choices name="c" toName="i"><Choice value="x"/></Choices></View>'
        )

        assert await owed.push() == 0

        assert not owed.studio.predictions
        assert await owed.deliveries.counts() == {"open": 3}
        assert not await owed.pusher.is_owing()  # it is not tried again and again
        owed.studio.label_config = right
        await owed.go_by()
        assert await owed.push() == 3
        assert owed.studio.predicted() == {1: 1, 2: 1, 3: 1}


async def test_a_task_that_was_edited_since_does_not_get_the_spans_of_another_text(postgres_url: str) -> None:
    async with owing(postgres_url) as owed:
        owed.studio.tasks[2]["data"] = {"text": "another text"}

        assert await owed.push() == 2

        assert owed.studio.predicted() == {1: 1, 3: 1}
        assert await owed.deliveries.counts() == {"delivered": 2, "failed": 1}


async def test_what_was_cut_off_is_given_the_time_that_label_studio_may_take_to_store_it(postgres_url: str) -> None:
    async with owing(postgres_url) as owed:
        owed.studio.faults.append("lost after")
        owed.studio.stores.clear()  # it takes the call, and does not answer for long
        pushing = asyncio.create_task(owed.push())
        await owed.studio.importing.wait()
        async with database.transaction(owed.store.engine) as db:  # as long as the caller waits
            await db.execute(text("UPDATE label_studio_tasks SET changed_at = now() - interval '3 minutes'"))

        owed.studio.stores.set()
        with pytest.raises(LabelStudioError):
            await pushing

        assert await owed.deliveries.unsure(limit=10) == {}


async def test_one_prediction_that_cannot_be_written_does_not_keep_the_others(postgres_url: str) -> None:
    async with (
        a_studio("", "") as studio,
        connected_to(postgres_url, studio.url, task="segmentation") as (store, connection, _),
        LabelStudio(studio.url, token=TOKEN, attempts=1) as server,
    ):
        for number, task in studio.tasks.items():
            task["data"] = {"i": f"https://example.com/{number}.png"}
        studio.label_config = view('<Image name="img" value="$i"/>', labels_tag("BrushLabels", "brush", "Road"))
        deliveries = Deliveries(store, connection.id)
        outcomes = [a_mask(1, counts="no run lengths"), a_mask(2, counts="0`0")]
        await owe(store, deliveries, outcomes, task_ids=[1, 2], task="segmentation")
        pusher = Pusher(settings_of_all(postgres_url), store, connection, server)

        assert await pusher.push(await server.project(2)) == 1

        assert studio.predicted() == {2: 1}
        assert await deliveries.counts() == {"delivered": 1, "failed": 1}


def a_mask(task_id: int, *, counts: str) -> Labelled:
    """A road, by its run lengths."""
    outcome = an_outcome(task_id)
    road = Annotation(id="0", label="Road", geometry=Mask(size_hw=(4, 4), counts=counts), score=0.9)
    prediction = Prediction(annotations=(road,), size_hw=(4, 4))
    item = Item(id=outcome.item.id, media="image", uri=f"https://example.com/{task_id}.png")
    pre_label = replace(outcome.pre_label, prediction=prediction)
    return replace(outcome, item=item, task="segmentation", pre_label=pre_label)


async def test_an_answer_that_never_arrived_is_pushed_and_one_that_has_is_not(postgres_url: str) -> None:
    async with owing(postgres_url) as owed:
        keys = {(n, "d") for n in (1, 2, 3)}
        now = datetime.now(UTC)
        await owed.deliveries.promise(keys, version=VERSION, began_at=now, is_alone=False)
        await owed.deliveries.answered(keys, version=VERSION)
        owed.studio.store([{"task": 2, "result": [], "score": 0.5, "model_version": VERSION}])
        owed.studio.store([{"task": 3, "result": [], "score": 0.5, "model_version": f"{VERSION}0"}])  # another version
        early = await owed.push()
        for _ in range(2):  # at the first look one has arrived, at the second no more
            await owed.go_by()
            await owed.pusher.look_up()

        assert (early, await owed.push()) == (0, 2)
        assert owed.studio.predicted() == {1: 1, 2: 1, 3: 2}
        assert await owed.deliveries.counts() == {"delivered": 3}


async def test_an_answer_that_label_studio_still_stores_is_not_pushed_whatever_it_stores_first(
    postgres_url: str,
) -> None:
    async with owing(postgres_url, tasks=600) as owed:
        keys = {(n, "d") for n in owed.studio.tasks}
        await owed.deliveries.promise(keys, version=VERSION, began_at=datetime.now(UTC), is_alone=False)
        await owed.deliveries.answered(keys, version=VERSION)
        last = max(owed.studio.tasks)
        for task_id in (last, last - 1, last - 2):
            owed.studio.store([{"task": task_id, "result": [], "score": 0.5, "model_version": VERSION}])
            await owed.go_by()
            await owed.pusher.look_up()

        assert await owed.push() == 0
        assert await owed.deliveries.counts() == {"answered": 597, "delivered": 3}
