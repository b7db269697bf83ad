"""Tests that what people answer on a labeling platform counts once, as its last version, until it is withdrawn."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from pipelines.errors import ConflictError, InvalidRequestError, NotFoundError
from pipelines.platform_answers import Known, PlatformAnswers, Recorded
from pipelines.review import ReviewQueue
from pipelines.sample import SampleRequest, draw
from pipelines.store.ledger import Ledger
from pipelines.store.store import Store
from pipelines.store.totals import Chosen
from tests.pipelines.builders import a_labelled, an_annotation
from tests.pipelines.platform import a_dog, an_answer, ask, at, counted, logged, tasks_of

NEW, KNOWN = True, False


@pytest.fixture
def answers(store: Store) -> PlatformAnswers:
    return PlatformAnswers(store)


@pytest.fixture
def queue(store: Store) -> ReviewQueue:
    return ReviewQueue(store)


async def reviewed(store: Store, run_id: str) -> list[str] | None:
    """The labels that the results have for the one item."""
    [result] = await store.results(run_id)
    return None if result.review is None else [one.label for one in result.review.annotations]


async def test_an_answer_is_the_review_of_the_task_that_waits_for_it(
    store: Store, run_id: str, answers: PlatformAnswers
) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)

    recorded = await answers.record(an_answer(run_id, a_dog(), seconds=4.0))

    [totals] = await Ledger(store).totals("stream")
    assert recorded == Recorded(standing="asked", is_new=NEW)
    assert await reviewed(store, run_id) == ["dog"]
    assert await tasks_of(store) == {"routed": "done"}
    assert await logged(store) == [("submitted", "eve", 1)]
    assert (totals.group, totals.reviews, totals.shown, totals.edited, totals.seconds) == ("routed", 1, 1, 1, 4.0)


async def test_an_answer_about_an_accepted_item_is_volunteered(
    store: Store, run_id: str, answers: PlatformAnswers
) -> None:
    await store.save([a_labelled(route="accept")], run_id=run_id)

    recorded = await answers.record(an_answer(run_id, a_dog()))

    [totals] = await Ledger(store).totals("stream")
    assert recorded.standing == "volunteered"
    assert await reviewed(store, run_id) == ["dog"]
    assert (totals.group, totals.reviews, totals.errors) == ("volunteered", 1, {"class": 1})
    assert await store.queues() == []  # nobody had queued it


async def test_what_is_volunteered_is_served_to_nobody_even_when_it_is_withdrawn(
    store: Store, run_id: str, answers: PlatformAnswers, queue: ReviewQueue
) -> None:
    await store.save([a_labelled(route="accept")], run_id=run_id)
    await answers.record(an_answer(run_id))

    await answers.withdraw("platform:7:1")

    assert await tasks_of(store) == {"volunteered": "withdrawn"}
    assert await queue.claim("volunteered", reviewer="ann") == []


async def test_the_same_answer_again_changes_nothing(store: Store, run_id: str, answers: PlatformAnswers) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    await answers.record(an_answer(run_id, a_dog()))
    before = await ask(store, "SELECT * FROM reviews")

    again = await answers.record(an_answer(run_id, a_dog()))
    touched = await answers.record(an_answer(run_id, a_dog(), updated=5))  # a newer version that says the same

    assert again == Recorded(standing="asked", is_new=KNOWN)
    assert touched == Recorded(standing="asked", is_new=NEW)
    assert await ask(store, "SELECT * FROM reviews") == before
    assert await logged(store) == [("submitted", "eve", 1)]


async def test_a_changed_answer_replaces_the_earlier_one_which_stays_to_be_seen(
    store: Store, run_id: str, answers: PlatformAnswers
) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    await answers.record(an_answer(run_id, a_dog(), seconds=4.0))

    await answers.record(an_answer(run_id, an_annotation(score=1.0), updated=5, seconds=9.0))

    [totals] = await Ledger(store).totals()
    assert (totals.reviews, totals.untouched, totals.edited, totals.seconds) == (1, 1, 0, 9.0)
    assert await reviewed(store, run_id) == ["cat"]
    assert await logged(store) == [("submitted", "eve", 1), ("replaced", "eve", 2)]
    past = await ask(store, "SELECT annotations FROM reviews WHERE void_since IS NOT NULL")
    assert [row["annotations"][0]["label"] for row in past] == ["dog"]


async def test_an_older_version_never_replaces_a_newer_one(store: Store, run_id: str, answers: PlatformAnswers) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    await answers.record(an_answer(run_id, a_dog(), updated=5))

    late = await answers.record(an_answer(run_id, updated=1))

    assert late == Recorded(standing="outdated", is_new=NEW)
    assert await reviewed(store, run_id) == ["dog"]


async def test_a_withdrawn_answer_counts_nowhere_and_its_task_waits_again(
    store: Store, run_id: str, answers: PlatformAnswers, queue: ReviewQueue
) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    await answers.record(an_answer(run_id, a_dog()))

    withdrawn = [await answers.withdraw("platform:7:1") for _ in range(2)]

    assert withdrawn == [True, False]
    assert await reviewed(store, run_id) is None
    assert [await Ledger(store).totals(by) for by in (None, "label", "stream")] == [[], [], []]
    assert await logged(store) == [("submitted", "eve", 1), ("withdrawn", "platform", 1)]
    [task] = await queue.claim("boxes", reviewer="ann")
    await queue.submit(task.id, task.attempt, reviewer="ann", annotations=[an_annotation()])
    assert (task.attempt, await reviewed(store, run_id)) == (2, ["cat"])


async def test_what_is_withdrawn_before_it_comes_never_counts(
    store: Store, run_id: str, answers: PlatformAnswers
) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)

    withdrawn = await answers.withdraw("platform:7:1")
    recorded = await answers.record(an_answer(run_id, a_dog(), updated=1_000_000))

    assert (withdrawn, recorded.standing) == (False, "outdated")
    assert await tasks_of(store) == {"routed": "pending"}


async def test_an_answer_counts_again_when_it_is_newer_than_its_skip(
    store: Store, run_id: str, answers: PlatformAnswers
) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    await answers.withdraw("platform:7:1", updated_at=at(3))

    before = await answers.record(an_answer(run_id, updated=3))
    after = await answers.record(an_answer(run_id, a_dog(), updated=4))

    assert (before.standing, after.standing) == ("outdated", "asked")
    assert await reviewed(store, run_id) == ["dog"]


async def test_of_two_annotations_the_one_given_first_counts_until_it_is_withdrawn(
    store: Store, run_id: str, answers: PlatformAnswers
) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    second = await answers.record(an_answer(run_id, key="second", reviewer="bob", created=9, updated=9))
    first = await answers.record(an_answer(run_id, a_dog(), key="first", created=2, updated=20))
    of_both = await reviewed(store, run_id)

    again = await answers.record(an_answer(run_id, key="second", reviewer="bob", created=9, updated=9))
    await answers.withdraw("first")

    assert (second.standing, first.standing, again.standing) == ("asked", "asked", "beside")
    assert (of_both, await reviewed(store, run_id)) == (["dog"], [])
    assert len(await Ledger(store).totals()) == 1
    assert [action for action, _, _ in await logged(store)] == ["submitted", "replaced", "replaced"]


async def test_an_answer_takes_a_task_that_somebody_holds_and_they_learn_of_it(
    store: Store, run_id: str, answers: PlatformAnswers, queue: ReviewQueue
) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    [task] = await queue.claim("boxes", reviewer="ann")

    recorded = await answers.record(an_answer(run_id, a_dog()))

    assert recorded.standing == "asked"
    for late in (
        queue.heartbeat(task.id, task.attempt, reviewer="ann"),
        queue.submit(task.id, task.attempt, reviewer="ann", annotations=[]),
    ):
        with pytest.raises(ConflictError, match="it is done since attempt 2") as caught:
            await late
        assert caught.value.code == "stale_lease"
    assert await counted(store) == [("routed", "eve", ["dog"], True)]


async def test_what_was_answered_in_the_queue_stays(
    store: Store, run_id: str, answers: PlatformAnswers, queue: ReviewQueue
) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    [task] = await queue.claim("boxes", reviewer="ann")
    await queue.submit(task.id, task.attempt, reviewer="ann", annotations=[an_annotation()])

    recorded = await answers.record(an_answer(run_id, a_dog()))
    await answers.withdraw("platform:7:1")

    assert recorded.standing == "beside"
    assert await counted(store) == [("routed", "ann", ["cat"], True)]
    assert await tasks_of(store) == {"routed": "done"}


async def test_a_task_that_was_set_aside_can_still_be_answered(
    store: Store, run_id: str, answers: PlatformAnswers
) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    async with store.engine.begin() as connection:
        await connection.execute(text("UPDATE review_tasks SET state = 'dead'"))

    await answers.record(an_answer(run_id))

    assert await tasks_of(store) == {"routed": "done"}


async def test_an_answer_that_saw_the_pre_label_does_not_answer_a_blind_audit(
    store: Store, run_id: str, answers: PlatformAnswers, queue: ReviewQueue
) -> None:
    await store.save([a_labelled(route="audit", is_blind=True)], run_id=run_id)

    recorded = await answers.record(an_answer(run_id, a_dog(), was_shown=True))
    before = await reviewed(store, run_id)
    [audit] = await queue.claim("boxes", reviewer="ann")
    await queue.submit(audit.id, audit.attempt, reviewer="ann", annotations=[])

    assert (recorded.standing, audit.is_blind) == ("volunteered", True)
    assert (before, await reviewed(store, run_id)) == (["dog"], [])  # what was asked for goes before
    assert await counted(store) == [("routed", "ann", [], False), ("volunteered", "eve", ["dog"], True)]


async def test_an_answer_that_did_not_see_the_pre_label_answers_a_blind_audit(
    store: Store, run_id: str, answers: PlatformAnswers
) -> None:
    await store.save([a_labelled(route="audit", is_blind=True)], run_id=run_id)

    recorded = await answers.record(an_answer(run_id, a_dog(), was_shown=False))

    assert recorded.standing == "asked"
    assert await counted(store) == [("routed", "eve", ["dog"], False)]


async def test_who_looks_at_the_pre_label_later_gives_a_blind_audit_back(
    store: Store, run_id: str, answers: PlatformAnswers
) -> None:
    await store.save([a_labelled(route="audit", is_blind=True)], run_id=run_id)
    await answers.record(an_answer(run_id, a_dog(), was_shown=False))

    await answers.record(an_answer(run_id, an_annotation(), was_shown=True, updated=5))

    assert await tasks_of(store) == {"routed": "pending", "volunteered": "done"}
    assert await counted(store) == [("volunteered", "eve", ["cat"], True)]


@pytest.mark.parametrize("seen", [[True, False], [False, True]])
async def test_if_a_version_comes_as_blind_and_as_shown_it_was_shown(
    store: Store, run_id: str, answers: PlatformAnswers, seen: list[bool]
) -> None:
    await store.save([a_labelled(route="audit", is_blind=True)], run_id=run_id)

    for was_shown in seen:
        await answers.record(an_answer(run_id, a_dog(), was_shown=was_shown))

    assert await counted(store) == [("volunteered", "eve", ["dog"], True)]


async def test_a_blind_answer_to_a_task_that_shows_the_pre_label_counts_as_blind_in_the_ledger(
    store: Store, run_id: str, answers: PlatformAnswers
) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)

    await answers.record(an_answer(run_id, was_shown=False))

    [totals] = await Ledger(store).totals()
    assert (totals.reviews, totals.shown, totals.missed + totals.wrong) == (1, 0, 1)


async def test_a_correction_that_is_missing_is_caught_up_with_as_the_platform_said(
    store: Store, run_id: str, answers: PlatformAnswers
) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    await answers.record(an_answer(run_id, a_dog(), was_shown=False))
    await answers.record(an_answer(run_id, was_shown=False, updated=1))
    async with store.engine.begin() as connection:
        await connection.execute(text("TRUNCATE corrections"))

    caught_up = await Ledger(store).catch_up()

    assert caught_up == 1  # not the void one
    assert await counted(store) == [("routed", "eve", [], False)]


async def test_what_was_volunteered_is_not_chosen_to_be_labelled_and_can_still_be_drawn(
    store: Store, run_id: str, answers: PlatformAnswers
) -> None:
    await store.save([a_labelled("one"), a_labelled("two")], run_id=run_id)
    await answers.record(an_answer(run_id, a_dog()))

    chosen = await draw(store, SampleRequest(task="detection", strategy="entropy", budget=2), queues={}, is_dry=True)
    drawn = await draw(store, SampleRequest(task="detection", strategy="random", budget=2), queues={})

    assert {member.id for member in chosen.members} == {"two"}
    assert {(member.id, member.is_queued) for member in drawn.members} == {("one", True), ("two", True)}
    assert await tasks_of(store) == {"volunteered": "done", "random": "pending"}


async def test_the_ledger_tells_what_was_volunteered(store: Store, run_id: str, answers: PlatformAnswers) -> None:
    await store.save([a_labelled("one"), a_labelled("two", route="review")], run_id=run_id)
    await answers.record(an_answer(run_id, a_dog(), key="1", item_id="one"))
    await answers.record(an_answer(run_id, key="2", item_id="two"))

    [alone] = await Ledger(store).totals(chosen=Chosen(stream="volunteered"))
    routes = await Ledger(store).totals("route")

    assert (alone.reviews, alone.edited) == (1, 1)
    assert [(one.group, one.reviews) for one in routes] == [("accept", 1), ("review", 1)]


async def test_a_poll_can_tell_what_it_has_missed(store: Store, run_id: str, answers: PlatformAnswers) -> None:
    await store.save([a_labelled("one"), a_labelled("two")], run_id=run_id)
    one, two = (an_answer(run_id, a_dog(), key=name, item_id=name) for name in ("one", "two"))
    await answers.record(one)
    await answers.record(two)
    await answers.withdraw("two", updated_at=at(8))
    await answers.withdraw("gone")

    known = await answers.known(["one", "two", "gone", "never seen"])
    of_items = await answers.known_of(run_id, ["one", "two"], task="detection")

    assert known == {
        "one": Known(run_id=run_id, item_id="one", updated_at=at(0), is_withdrawn=False, digest=one.digest),
        "two": Known(run_id=run_id, item_id="two", updated_at=at(8), is_withdrawn=True, digest=""),
        "gone": Known(run_id=None, item_id=None, updated_at=None, is_withdrawn=True, digest=""),
    }
    assert of_items == {name: known[name] for name in ("one", "two")}
    assert known["one"].digest != an_answer(run_id, key="one").digest


async def test_webhooks_at_once_store_one_review(store: Store, run_id: str, answers: PlatformAnswers) -> None:
    await store.save([a_labelled(route="review"), a_labelled("two")], run_id=run_id)
    twice = [an_answer(run_id, a_dog()), an_answer(run_id, a_dog(), item_id="two", key="other")]

    recorded = await asyncio.gather(*(answers.record(one) for one in twice * 6))

    assert sum(one.is_new for one in recorded) == 2
    assert {one.standing for one in recorded} == {"asked", "volunteered"}
    assert len(await ask(store, "SELECT FROM reviews")) == len(await ask(store, "SELECT FROM corrections")) == 2


async def test_of_an_answer_in_the_queue_and_one_on_the_platform_at_once_one_counts(
    store: Store, run_id: str, answers: PlatformAnswers, queue: ReviewQueue
) -> None:
    names = [f"item {number}" for number in range(24)]
    await store.save([a_labelled(name, route="review") for name in names], run_id=run_id)
    tasks = await queue.claim("boxes", reviewer="ann", n=24)

    async def submit(task_id: int) -> str:
        try:
            await queue.submit(task_id, 1, reviewer="ann", annotations=[])
        except ConflictError:
            return "refused"
        return "taken"

    both = await asyncio.gather(
        *(submit(task.id) for task in tasks),
        *(answers.record(an_answer(run_id, a_dog(), key=name, item_id=name)) for name in names),
    )

    counting = [await counted(store, name) for name in names]
    assert all(len(found) == 1 for found in counting)
    reviewers = [reviewer for [(_, reviewer, _, _)] in counting]
    assert reviewers.count("ann") == both.count("taken")
    assert reviewers.count("eve") == both.count(Recorded(standing="asked", is_new=NEW))


async def test_without_its_correction_an_answer_is_not_stored_either(
    store: Store, run_id: str, answers: PlatformAnswers
) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    async with store.engine.begin() as connection:
        await connection.execute(text("ALTER TABLE corrections ADD CONSTRAINT told_to_fail CHECK (edited = 0)"))

    with pytest.raises(DBAPIError, match="told_to_fail"):
        await answers.record(an_answer(run_id, a_dog()))

    assert await answers.known(["platform:7:1"]) == {}
    assert await tasks_of(store) == {"routed": "pending"}
    assert await logged(store) == []


async def test_an_answer_is_about_one_pre_label(store: Store, run_id: str, answers: PlatformAnswers) -> None:
    await store.save([a_labelled("one"), a_labelled("two")], run_id=run_id)
    await answers.record(an_answer(run_id))

    with pytest.raises(ConflictError, match="another pre-label") as caught:
        await answers.record(an_answer(run_id, item_id="two", updated=5))

    assert caught.value.code == "key_reused"


async def test_what_cannot_be_true_or_is_about_nothing_is_refused(
    store: Store, run_id: str, answers: PlatformAnswers
) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    good = an_answer(run_id, a_dog())

    for bad in (
        replace(good, annotations=[an_annotation(score=7.0)]),
        replace(good, key=""),
        replace(good, reviewer=""),
        replace(good, seconds=-1.0),
        replace(good, updated_at=datetime(2026, 5, 1)),
    ):
        with pytest.raises(InvalidRequestError):
            await answers.record(bad)
    for unknown in (
        replace(good, item_id="two"),
        replace(good, run_id="none"),
        replace(good, task="segmentation", annotations=()),
    ):
        with pytest.raises(NotFoundError, match="no pre-label"):
            await answers.record(unknown)

    assert await answers.known([good.key]) == {}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE reviews SET void_since = NULL",
        "UPDATE reviews SET void_since = now(), reviewer = 'bob'",
        "DELETE FROM reviews",
        "UPDATE platform_answers SET key = 'other'",
        "DELETE FROM platform_answers",
    ],
)
async def test_what_was_said_is_never_changed(
    store: Store, run_id: str, answers: PlatformAnswers, statement: str
) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    await answers.record(an_answer(run_id, a_dog()))

    with pytest.raises(DBAPIError, match="written once"):
        async with store.engine.begin() as connection:
            await connection.execute(text(statement))
