"""Tests that the ledger adds up what reviewers changed, as by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from models.types import Annotation, Box, Item
from pipelines.errors import InvalidRequestError
from pipelines.review import ReviewQueue
from pipelines.store.ledger import Ledger
from pipelines.store.store import Store
from pipelines.store.totals import Chosen, Totals
from tests.pipelines.builders import a_labelled, a_pre_label

CAT = Annotation(id="0", label="cat", geometry=Box(xyxy=(0, 0, 10, 10)), score=0.75)
DOG = Annotation(id="1", label="dog", geometry=Box(xyxy=(50, 0, 60, 10)), score=0.75)
MOVED_DOG = replace(DOG, geometry=Box(xyxy=(52, 0, 62, 10)))
NEW_CAT = Annotation(id="9", label="cat", geometry=Box(xyxy=(90, 0, 99, 10)), score=1.0)


@pytest.fixture
def ledger(store: Store) -> Ledger:
    return Ledger(store)


async def answered(
    store: Store,
    run_id: str,
    answers: Sequence[Sequence[Annotation]],
    *,
    is_blind: bool = False,
    version: str = "1",
    source: str = "cam1",
    seconds: float | None = None,
) -> None:
    """Items with a cat and a dog each, and what a reviewer says about them."""
    queue, run_id = ReviewQueue(store), await store.start_run("a drop", run_id=run_id)
    names = [f"{source}-{version}-{is_blind}-{n}" for n in range(len(answers))]
    for name in names:
        item = Item(id=name, media="image", uri=f"file:///{name}.png", meta={"source": source} if source else {})
        pre_label = a_pre_label(CAT, DOG)
        pre_label = replace(pre_label, provenance=replace(pre_label.provenance, model_version=version))
        labelled = a_labelled(name, route="review", item=item, pre_label=pre_label)
        labelled = replace(labelled, decision=replace(labelled.decision, is_blind=is_blind))
        await store.save([labelled], run_id=run_id)
    tasks = await queue.claim("boxes", reviewer="ann", n=len(answers))
    for task in tasks:
        answer = answers[names.index(task.item.id)]
        await queue.submit(task.id, task.attempt, reviewer="ann", annotations=answer, seconds=seconds)


async def test_without_a_review_there_is_nothing(ledger: Ledger) -> None:
    assert await ledger.totals() == []
    assert await ledger.totals("label") == []


async def test_the_totals_are_those_by_hand(store: Store, run_id: str, ledger: Ledger) -> None:
    await answered(store, run_id, [[CAT, DOG], [CAT, MOVED_DOG], [CAT, NEW_CAT]], seconds=4.0)

    [totals] = await ledger.totals()

    mean_cost, mean_iou = (0 + 7 + 1 + 8) / 3, (1.0 + (1 + 8 / 12) / 2 + 1.0) / 3
    assert (totals.cost, totals.iou) == (pytest.approx(mean_cost), pytest.approx(mean_iou))
    assert replace(totals, cost=mean_cost, iou=mean_iou) == Totals(
        group="all",
        reviews=3,
        shown=3,
        untouched=1,
        unchanged=4,
        edited=1,
        rejected=1,
        added=1,
        right=5,  # the moved dog has an IoU of two thirds
        wrong=1,
        missed=1,
        cost=mean_cost,
        seconds=4.0,
        iou=mean_iou,
        errors={"spurious": 1, "missed": 1},
    )
    assert totals.acceptance_rate == 4 / 6
    assert totals.untouched_rate == 1 / 3
    assert (totals.precision, totals.recall) == (5 / 6, 5 / 6)


async def test_each_class_has_its_own_counts(store: Store, run_id: str, ledger: Ledger) -> None:
    await answered(store, run_id, [[CAT, DOG], [CAT, NEW_CAT]])

    cat, dog = await ledger.totals("label")

    assert (cat.group, cat.unchanged, cat.added, cat.missed, cat.acceptance_rate) == ("cat", 2, 1, 1, 1.0)
    assert (dog.group, dog.unchanged, dog.rejected, dog.acceptance_rate) == ("dog", 1, 1, 0.5)
    assert cat.untouched_rate is None
    assert await ledger.totals("label", chosen=Chosen(label="dog")) == [dog]


async def test_who_answers_blind_counts_in_errors_and_not_in_acceptance(
    store: Store, run_id: str, ledger: Ledger
) -> None:
    await answered(store, run_id, [[CAT, DOG]])
    await answered(store, run_id, [[MOVED_DOG]], is_blind=True)

    [totals] = await ledger.totals()

    assert (totals.reviews, totals.shown, totals.acceptance_rate, totals.untouched_rate) == (2, 1, 1.0, 1.0)
    assert (totals.errors, totals.right, totals.wrong, totals.cost) == ({"spurious": 1}, 3, 1, 0.0)


async def test_groups_are_by_slice_model_stream_route_and_time(store: Store, run_id: str, ledger: Ledger) -> None:
    await answered(store, run_id, [[CAT, DOG]])
    await answered(store, run_id, [[], []], version="2", source="cam2")
    await answered(store, run_id, [[]], source="")

    async def groups(by: str) -> dict[str, int]:
        return {totals.group: totals.reviews for totals in await ledger.totals(by)}

    today = datetime.now(UTC).date()
    assert await groups("slice:source") == {"": 1, "cam1": 1, "cam2": 2}
    assert await groups("slice:weather") == {"": 4}
    assert await groups("model") == {"detector@1": 2, "detector@2": 2}
    assert await groups("stream") == {"routed": 4}
    assert await groups("route") == {"review": 4}
    assert await groups("day") == {str(today): 4}
    assert await groups("week") == {str(today - timedelta(days=today.weekday())): 4}


async def test_what_counts_can_be_chosen(store: Store, run_id: str, ledger: Ledger) -> None:
    other = await store.start_run("another drop")
    await answered(store, run_id, [[CAT, DOG]])
    await answered(store, other, [[NEW_CAT], []], source="cam2")

    async def reviews(chosen: Chosen) -> int:
        return sum(totals.reviews for totals in await ledger.totals(chosen=chosen))

    now = datetime.now(UTC)
    assert await reviews(Chosen()) == 3
    assert await reviews(Chosen(task="detection")) == 3
    assert await reviews(Chosen(task="ner")) == 0
    assert await reviews(Chosen(run_id=other)) == 2
    assert await reviews(Chosen(slice=("source", "cam1"))) == 1
    assert await reviews(Chosen(label="dog")) == 3  # the pre-labels' dogs
    assert await reviews(Chosen(label="bird")) == 0
    assert await reviews(Chosen(stream="routed")) == 3
    assert await reviews(Chosen(stream="gold")) == 0
    assert await reviews(Chosen(since=now - timedelta(hours=1))) == 3
    assert await reviews(Chosen(since=now + timedelta(hours=1))) == 0


@pytest.mark.parametrize("by", ["labels", "slice", "slice:", "day:1"])
async def test_an_unknown_grouping_is_refused(ledger: Ledger, by: str) -> None:
    with pytest.raises(InvalidRequestError, match="grouped by one of label, slice:KEY"):
        await ledger.totals(by)


async def test_reviews_of_before_are_counted_once_by_catching_up(store: Store, run_id: str, ledger: Ledger) -> None:
    await answered(store, run_id, [[CAT, DOG], [CAT], []], seconds=3.0)
    before = await ledger.totals()
    async with store.engine.begin() as connection:  # as if they had been answered before there were corrections
        await connection.execute(text("ALTER TABLE corrections DISABLE TRIGGER written_once"))
        await connection.execute(text("DELETE FROM corrections"))
        await connection.execute(text("ALTER TABLE corrections ENABLE TRIGGER written_once"))
    assert await ledger.totals() == []

    assert [await ledger.catch_up(), await ledger.catch_up()] == [3, 0]

    assert await ledger.totals() == before
