"""Checks that what happens in a project is taken over in the end, however and in whatever order it is heard of."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from pipelines.store import engine as database
from pipelines.store.label_studio.connections import Connection
from pipelines.store.label_studio.deliveries import Deliveries, Wanted
from pipelines.store.label_studio.events import Event
from pipelines.store.store import Store
from serving.integrations.label_studio.api import LabelStudio
from serving.integrations.label_studio.errors import LabelStudioError
from serving.integrations.label_studio.follow import Follower, Latest
from tests.pipelines.formats.label_studio.builders import labels_tag, view
from tests.serving.integrations.label_studio.builders import connected_to
from tests.serving.integrations.label_studio.studio import CONFIG, TOKEN, Studio, a_studio
from tests.serving.integrations.label_studio.test_push import VERSION, an_outcome, owe
from tests.serving.runs.builders import CUT_OFF, settings_over

pytestmark = CUT_OFF

_COUNTING = """
SELECT items.id, reviews.annotations, reviews.reviewer FROM reviews
JOIN review_tasks AS tasks ON tasks.id = reviews.task_id
JOIN prelabels ON prelabels.id = tasks.prelabel_id
JOIN items ON items.run_id = prelabels.run_id AND items.id = prelabels.item_id
WHERE void_since IS NULL ORDER BY items.id
"""
_ITEMS = "SELECT run_id, id, text FROM items ORDER BY position, id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """A connected project, three tasks of which have a pre-label."""

    studio: Studio
    store: Store
    connection: Connection
    deliveries: Deliveries
    server: LabelStudio
    follower: Follower

    async def hear(self, action: str, *ids: int) -> None:
        await self.follower.follow(Event(id=1, action=action, ids=ids, attempts=0), await self.server.project(2))

    async def poll(self) -> None:
        await self.follower.poll(await self.server.project(2))

    async def reviews(self) -> list[tuple[str, list[str]]]:
        """The items with a review that counts, and its labels."""
        return [(row[0][:6], [one["label"] for one in row[1]]) for row in await self.ask(_COUNTING)]

    async def ask(self, query: str) -> Sequence[Any]:
        async with database.reading(self.store.engine) as db:
            return (await db.execute(text(query))).all()


@asynccontextmanager
async def followed(url: str, *texts: str, labelled: int = 3, is_automatic: bool = True) -> AsyncIterator[Followed]:
    texts = texts or ("Ann", "Bob", "Cid")
    async with (
        a_studio(*texts) as studio,
        connected_to(url, studio.url, task="ner", is_automatic=is_automatic) as (store, connection, _),
        LabelStudio(studio.url, token=TOKEN, attempts=1) as server,
    ):
        deliveries = Deliveries(store, connection.id)
        ids = list(studio.tasks)[:labelled]
        if ids:
            await owe(store, deliveries, [an_outcome(n) for n in ids], task_ids=ids)
        follower = Follower(
            settings_over(None, url),
            version=lambda _: VERSION,
            given=lambda _: (),
            store=store,
            connection=connection,
            server=server,
        )
        yield Followed(
            studio=studio,
            store=store,
            connection=connection,
            deliveries=deliveries,
            server=server,
            follower=follower,
        )


async def test_an_annotation_becomes_a_review_once_however_often_it_is_told_of(postgres_url: str) -> None:
    async with followed(postgres_url) as project:
        number = project.studio.annotate(1, (0, 1, "person"))

        for _ in range(3):
            await project.hear("annotations", number)

        assert await project.reviews() == [("task-1", ["person"])]
        assert [row.reviewer for row in await project.ask(_COUNTING)] == ["label-studio:1"]


async def test_an_answer_stays_with_its_pre_label_when_the_task_has_another_since(postgres_url: str) -> None:
    async with followed(postgres_url) as project:
        number = project.studio.annotate(1, (0, 1, "person"))
        await project.hear("annotations", number)
        newer = [Wanted(task_id=1, digest="d", item=an_outcome(1).item)]
        begun = await project.deliveries.begin(
            newer, version="newer", task="ner", online_run="", new_run="newer", few=0, held_s=0.0
        )
        await project.store.save([an_outcome(1)], run_id=begun.run_id, attempt=0)
        assert [one.version for one in await project.deliveries.of_tasks([1])] == [VERSION, "newer"]

        project.studio.annotate(1, (1, 2, "person"), (2, 3, "person"), number=number)
        await project.hear("annotations", number)

        assert await project.reviews() == [("task-1", ["person", "person"])]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
async def test_hints_out_of_order_lead_to_the_state_of_now(postgres_url: str, order: tuple[int, ...]) -> None:
    async with followed(postgres_url) as project:
        studio = project.studio
        kept, changed, deleted = (studio.annotate(n, (0, 1, "person")) for n in (1, 2, 3))
        studio.annotate(2, number=changed)  # its region was taken away
        studio.delete_annotation(deleted)

        for place in order:
            await project.hear("annotations", (kept, changed, deleted)[place])

        assert await project.reviews() == [("task-1", ["person"]), ("task-2", [])]


async def test_a_deleted_annotation_counts_no_longer_whether_told_of_or_found(postgres_url: str) -> None:
    async with followed(postgres_url) as project:
        told, found = (project.studio.annotate(n, (0, 1, "person")) for n in (1, 2))
        await project.poll()
        before = await project.reviews()

        project.studio.delete_annotation(told)
        await project.hear("annotations", told)
        project.studio.delete_annotation(found)
        await project.poll()

        assert [item for item, _ in before] == ["task-1", "task-2"]
        assert await project.reviews() == []


async def test_a_skipped_task_is_no_answer(postgres_url: str) -> None:
    async with followed(postgres_url) as project:
        skipped = project.studio.annotate(1, was_cancelled=True)
        number = project.studio.annotate(2, (0, 1, "person"))
        await project.hear("annotations", skipped, number)
        before = await project.reviews()
        project.studio.annotate(2, number=number, was_cancelled=True)  # it was given before, and then skipped

        await project.hear("annotations", number)

        assert (before, await project.reviews()) == ([("task-2", ["person"])], [])


async def test_a_poll_finds_what_no_hint_told_of(postgres_url: str) -> None:
    async with followed(postgres_url) as project:
        number = project.studio.annotate(1, (0, 1, "person"))
        await project.poll()
        first = await project.reviews()
        project.studio.annotate(1, number=number)
        project.studio.annotate(3, (0, 1, "person"))
        await project.poll()
        await project.poll()

        assert first == [("task-1", ["person"])]
        assert await project.reviews() == [("task-1", []), ("task-3", ["person"])]


async def test_a_poll_asks_for_what_has_changed_since_the_last_one(postgres_url: str) -> None:
    async with followed(postgres_url) as project:
        for task in project.studio.tasks.values():
            task["updated_at"] = "2026-11-21T00:00:00+00:00"
        project.studio.tasks[3]["updated_at"] = "2026-11-21T09:00:00+00:00"  # and a page is not read in its order
        project.studio.tasks[4] = project.studio.tasks[1] | {"id": 4}
        await project.poll()
        seen = len(project.studio.calls)

        await project.poll()

        (asked,) = [target for _, target, _ in project.studio.calls[seen:] if "/api/tasks" in target]
        assert "updated_at" in asked and "2026-11-21T08%3A57" in asked  # two minutes and a bit before the latest
        # What changed while the pages were read is older than the latest by no more than that took.


async def test_an_answer_about_no_pre_label_of_ours_is_left_alone(postgres_url: str) -> None:
    async with followed(postgres_url, labelled=1) as project:
        await project.hear("annotations", project.studio.annotate(2, (0, 1, "person")))

        assert await project.reviews() == []


async def test_an_answer_is_about_the_prediction_that_it_began_with(postgres_url: str) -> None:
    async with followed(postgres_url, labelled=1) as project:
        deliveries, studio = project.deliveries, project.studio
        async with database.transaction(project.store.engine) as db:
            await db.execute(text("UPDATE label_studio_tasks SET version = 'old'"))
        await owe_again(project)
        studio.store([{"task": 1, "result": [], "model_version": version} for version in ("old", VERSION)])

        await project.hear("annotations", studio.annotate(1, (0, 1, "person"), parent_prediction=1))

        shown = {one.run_id: one.version for one in await deliveries.of_tasks([1])}
        (row,) = await project.ask(
            "SELECT prelabels.run_id FROM reviews JOIN review_tasks AS tasks ON tasks.id = reviews.task_id "
            "JOIN prelabels ON prelabels.id = tasks.prelabel_id"
        )
        assert shown[row.run_id] == "old"


async def owe_again(project: Followed) -> None:
    """Another pre-label of the first task, of a later version."""
    from pipelines.store.label_studio.deliveries import Wanted

    outcome = an_outcome(1)
    begun = await project.deliveries.begin(
        [Wanted(task_id=1, digest="d", item=outcome.item)],
        version=VERSION,
        task="ner",
        online_run="",
        new_run="later",
        few=0,
        held_s=0.0,
    )
    await project.store.save([outcome], run_id=begun.run_id, attempt=0)


async def test_an_answer_to_a_pre_label_that_was_not_shown_whole_is_no_evidence(
    postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with followed(postgres_url) as project:
        project.studio.label_config = CONFIG.replace("person", "place")

        await project.hear("annotations", project.studio.annotate(1, (0, 1, "place")))

        assert await project.reviews() == []
        assert "'person'" in caplog.text


async def test_new_tasks_are_labelled_once_whoever_tells_of_them(postgres_url: str) -> None:
    async with followed(postgres_url, labelled=0) as project:
        for _ in range(2):
            await project.hear("tasks", 1, 2)
            await project.poll()
        await project.hear("tasks", 2, 3, 99)  # of which one was deleted meanwhile

        assert sorted(row.text for row in await project.ask(_ITEMS)) == ["Ann", "Bob", "Cid"]
        assert len({row.run_id for row in await project.ask(_ITEMS)}) == 2
        assert await project.deliveries.counts() == {"open": 3}


async def test_what_somebody_has_answered_or_predicted_already_is_not_labelled(postgres_url: str) -> None:
    async with followed(postgres_url, labelled=0) as project:
        project.studio.annotate(1, (0, 1, "person"))
        project.studio.store([{"task": 2, "result": [], "model_version": VERSION}])
        project.studio.store([{"task": 3, "result": [], "model_version": "another"}])

        await project.poll()

        assert [row.text for row in await project.ask(_ITEMS)] == ["Cid"]


async def test_a_task_whose_text_was_changed_is_another(postgres_url: str) -> None:
    async with followed(postgres_url, labelled=0) as project:
        await project.poll()
        project.studio.tasks[1] |= {"data": {"text": "Dan"}, "updated_at": project.studio.now()}
        await project.poll()

        assert sorted(row.text for row in await project.ask(_ITEMS)) == ["Ann", "Bob", "Cid", "Dan"]


async def test_tasks_that_have_the_number_and_the_text_of_deleted_ones_get_their_predictions(postgres_url: str) -> None:
    async with followed(postgres_url, labelled=0) as project:
        await project.poll()
        async with database.transaction(project.store.engine) as db:
            await db.execute(text("UPDATE label_studio_tasks SET state = 'delivered' WHERE task_id IN (1, 2)"))
        project.studio.store([{"task": 1, "result": [], "model_version": VERSION}])  # and the second has lost its own

        await project.hear("tasks", 1, 2, 3)

        assert await project.deliveries.counts() == {"delivered": 1, "open": 2}
        states = await project.ask("SELECT task_id, state FROM label_studio_tasks ORDER BY task_id")
        assert [row.state for row in states] == ["delivered", "open", "open"]
        assert len(await project.ask(_ITEMS)) == 3  # nothing is computed anew


async def test_a_project_that_wants_to_be_asked_is_not_labelled_by_itself(postgres_url: str) -> None:
    async with followed(postgres_url, labelled=0, is_automatic=False) as project:
        await project.hear("tasks", 1)
        await project.poll()

        assert await project.ask(_ITEMS) == []


async def test_a_project_that_cannot_be_served_any_more_still_has_its_answers_taken(postgres_url: str) -> None:
    async with followed(postgres_url) as project:
        project.studio.annotate(1, (0, 1, "person"))
        await project.poll()
        before = await project.reviews()
        project.studio.label_config = view('<Image name="i" value="$i"/>', labels_tag("Choices", "c", "x", to="i"))
        project.studio.delete_annotation(1)

        with pytest.raises(Exception, match="cannot be pre-labelled"):
            await project.poll()

        assert (before, await project.reviews()) == ([("task-1", ["person"])], [])


async def test_a_label_studio_that_is_down_moves_no_mark(postgres_url: str) -> None:
    async with followed(postgres_url) as project:
        settings = await project.server.project(2)
        project.studio.is_down = True
        with pytest.raises(LabelStudioError):
            await project.follower.poll(settings)
        project.studio.is_down = False
        project.studio.annotate(1, (0, 1, "person"))

        await project.poll()

        assert await project.reviews() == [("task-1", ["person"])]


def test_what_is_known_is_not_read_again_for_ever() -> None:
    moment = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
    latest = Latest()

    first = latest.after(None, now=0.0)
    latest.see(moment, now=10.0)
    soon = latest.after(moment, now=60.0)
    latest.see(moment, now=70.0)
    later = latest.after(moment, now=300.0)
    latest.see(moment + timedelta(hours=1), now=310.0)
    newer = latest.after(moment + timedelta(hours=1), now=320.0)

    assert first is None
    assert soon is not None and soon < moment
    assert later is not None and moment < later < moment + timedelta(seconds=1)
    assert newer is not None and newer < moment + timedelta(hours=1)
