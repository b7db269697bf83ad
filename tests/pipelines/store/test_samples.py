"""Checks samples over a real store: what may be chosen, what is queued, and that a repetition queues nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from models.embedding import embedding
from models.types import Item
from pipelines.errors import ConflictError, InvalidRequestError, NotFoundError
from pipelines.review import ReviewQueue
from pipelines.sample import SampleRequest, draw
from pipelines.store import engine as database
from pipelines.store.candidates import read_candidates
from pipelines.store.samples import Sample, Samples
from pipelines.store.store import Store
from pipelines.types import Labelled, Route
from tests.pipelines.builders import a_labelled, a_pre_label, an_annotation

QUEUES = {"detection": "boxes"}


def a_member(number: int, *, route: Route = "accept", model: str = "detector", **changes: Any) -> Labelled:
    """A pre-label with an embedding of its own; even numbers come from cam0, odd ones from cam1."""
    rng = np.random.default_rng(number)
    pre_label = a_pre_label(*[an_annotation(str(n)) for n in range(number % 3)])
    vector = changes.pop("vector", embedding(model, rng.normal(size=8)))
    provenance = replace(pre_label.provenance, item_digest=f"digest {number}", chain=(f"{model}@1:abababababab",))
    pre_label = replace(
        pre_label,
        prediction=replace(pre_label.prediction, embedding=vector),
        uncertainty={"margin": (number % 20) / 20, "least_confidence": 0.5},
        provenance=provenance,
    )
    item = Item(id=f"i{number:03}", media="image", uri=f"file:///{number}.png", meta={"camera": f"cam{number % 2}"})
    return a_labelled(route=route, pre_label=pre_label, item=replace(item, **changes))


async def fill(store: Store, run_id: str, count: int = 40, *, reviews: int = 0) -> None:
    outcomes = [a_member(number, route="review" if number < reviews else "accept") for number in range(count)]
    await store.save(outcomes, run_id=run_id)


async def ask(store: Store, *, is_dry: bool = False, **request: Any) -> Sample:
    asked: dict[str, Any] = {"task": "detection", "budget": 10, "seed": 1} | request
    return await draw(store, SampleRequest(**asked), queues=QUEUES, is_dry=is_dry)  # pyright: ignore[reportArgumentType]


async def tasks(store: Store) -> list[dict[str, Any]]:
    query = "SELECT prelabel_id, queue, stream, is_blind, priority, state FROM review_tasks ORDER BY prelabel_id"
    async with database.reading(store.engine) as connection:
        return [dict(row) for row in (await connection.execute(text(query))).mappings()]


async def test_drawn_items_are_reviewed_blind_and_the_others_as_they_were_chosen(store: Store, run_id: str) -> None:
    await fill(store, run_id)

    sample = await ask(store, run_id=run_id, explore=0.3)

    drawn = {member.prelabel_id for member in sample.members if member.is_uniform}
    chosen = {member.prelabel_id for member in sample.members} - drawn
    assert (len(drawn), len(chosen)) == (3, 7)
    assert {member.propensity for member in sample.members} == {3 / 40, None}
    queued = await tasks(store)
    assert {task["prelabel_id"]: (task["stream"], task["is_blind"]) for task in queued} == {
        **dict.fromkeys(drawn, ("random", True)),
        **dict.fromkeys(chosen, ("sampled", False)),
    }
    assert {(task["queue"], task["state"]) for task in queued} == {("boxes", "pending")}
    assert all(member.is_queued for member in sample.members)


async def test_a_blind_task_hides_its_pre_label_and_the_others_show_it(store: Store, run_id: str) -> None:
    await fill(store, run_id)
    sample = await ask(store, run_id=run_id, explore=0.5)
    blind = {member.id for member in sample.members if member.is_uniform}

    claimed = await ReviewQueue(store).claim("boxes", reviewer="ada", n=100)

    assert {task.item.id for task in claimed if task.is_blind} == blind
    assert all(
        not task.pre_label.uncertainty and not task.pre_label.prediction.annotations
        for task in claimed
        if task.is_blind
    )
    assert all(task.pre_label.uncertainty for task in claimed if not task.is_blind)


async def test_what_is_stored_is_what_was_answered(store: Store, run_id: str) -> None:
    await fill(store, run_id, reviews=4)

    sample = await ask(store, run_id=run_id, strategy="margin", group_by="camera", quotas={"cam0": 2}, seed=7)

    assert await Samples(store).read(sample.id) == sample
    assert (sample.task, sample.run_id, sample.strategy, sample.budget, sample.seed) == (
        *("detection", run_id, "margin", 10),
        7,
    )
    assert sample.created_at is not None
    assert sample.parameters == {
        "explore": 0.1,
        "group_by": "camera",
        "quotas": {"cam0": 2},
        "radius": None,
        "most_cost": None,
        "queue": "boxes",
        "uncertainty": "margin",
        "embeddings": None,
        "items": 40,
        "labelled": 0,
        "queued": 4,
        "hidden": 0,
    }
    picked = [member for member in sample.members if not member.is_uniform]
    assert sum(int(member.id[1:]) % 2 == 0 for member in picked) <= 2
    with pytest.raises(NotFoundError, match="no sample 'none'"):
        await Samples(store).read("none")


async def test_what_a_human_has_answered_is_not_chosen_and_what_waits_keeps_its_task(store: Store, run_id: str) -> None:
    await fill(store, run_id, reviews=20)
    queue = ReviewQueue(store)
    for task in await queue.claim("boxes", reviewer="ada", n=12):
        await queue.submit(task.id, task.attempt, reviewer="ada", annotations=[])
    before = {task["prelabel_id"]: task for task in await tasks(store)}
    done = {prelabel_id for prelabel_id, task in before.items() if task["state"] == "done"}

    sample = await ask(store, run_id=run_id, budget=30, explore=0.7)

    drawn, chosen = (
        {member.prelabel_id for member in sample.members if member.is_uniform is is_uniform}
        for is_uniform in (True, False)
    )
    assert (len(done), len(drawn)) == (12, 21)
    assert drawn & done  # the draw is from all items; what is answered already costs no review
    assert drawn & (before.keys() - done)
    assert not chosen & before.keys()
    after = {task["prelabel_id"]: task for task in await tasks(store)}
    assert len(after) == len(await tasks(store))
    kept = ("queue", "stream", "state")
    assert all(after[one][name] == task[name] for one, task in before.items() for name in kept)
    assert after.keys() - before.keys() == {member.prelabel_id for member in sample.members if member.is_queued}
    assert (sample.parameters["labelled"], sample.parameters["queued"]) == (12, 8)


async def test_a_drawn_item_that_waits_is_reviewed_blind_unless_somebody_has_seen_it(store: Store, run_id: str) -> None:
    await fill(store, run_id, 20, reviews=20)
    queue = ReviewQueue(store)
    seen = await queue.claim("boxes", reviewer="ada", n=3)
    await queue.release(seen[0].id, seen[0].attempt, reviewer="ada")

    sample = await ask(store, run_id=run_id, budget=20, explore=1.0)

    assert all(member.is_uniform and not member.is_queued for member in sample.members)
    shown = {task["prelabel_id"] for task in await tasks(store) if not task["is_blind"]}
    of_item = {member.id: member.prelabel_id for member in sample.members}
    assert shown == {of_item[task.item.id] for task in seen}


async def test_a_repeated_request_gives_the_same_sample_and_queues_nothing_twice(store: Store, run_id: str) -> None:
    await fill(store, run_id)

    first = await ask(store, run_id=run_id, id="monday", seed=None)
    queued = await tasks(store)
    second = await ask(store, run_id=run_id, id="monday", seed=None)

    assert second == first
    assert await tasks(store) == queued
    others: list[dict[str, Any]] = [
        {"budget": 11},
        {"strategy": "margin"},
        {"explore": 0.2},
        {"queue": "elsewhere"},
        {"seed": 5_000_000_000},
    ]
    for other in others:
        with pytest.raises(ConflictError) as refused:
            await ask(store, run_id=run_id, id="monday", **other)
        assert refused.value.code == "sample_exists"


async def test_requests_at_the_same_time_queue_each_item_once(store: Store, run_id: str) -> None:
    await fill(store, run_id)

    same = await asyncio.gather(*(ask(store, run_id=run_id, id="monday", seed=None) for _ in range(4)))
    others = await asyncio.gather(*(ask(store, run_id=run_id, seed=seed, explore=1.0) for seed in range(4)))

    assert all(sample == same[0] for sample in same)
    queued = [task["prelabel_id"] for task in await tasks(store)]
    assert len(queued) == len(set(queued))
    by_samples = [m.prelabel_id for sample in (same[0], *others) for m in sample.members if m.is_queued]
    assert sorted(by_samples) == queued


async def test_a_trial_stores_nothing_and_a_seed_makes_it_come_true(store: Store, run_id: str) -> None:
    await fill(store, run_id)

    trial = await ask(store, run_id=run_id, is_dry=True, seed=3)
    nothing = await tasks(store)
    sample = await ask(store, run_id=run_id, seed=3)

    assert nothing == []
    assert trial.created_at is None
    with pytest.raises(NotFoundError):
        await Samples(store).read(trial.id)
    assert [member.id for member in trial.members] == [member.id for member in sample.members]


@pytest.mark.parametrize(("table", "column"), [("samples", "seed"), ("sample_members", "utility")])
async def test_a_sample_is_never_changed(store: Store, run_id: str, table: str, column: str) -> None:
    await fill(store, run_id)
    await ask(store, run_id=run_id)

    for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET {column} = 0"):  # noqa: S608
        with pytest.raises(DBAPIError, match="written once"):
            async with database.transaction(store.engine) as connection:
                await connection.execute(text(statement))


async def test_a_failing_sample_leaves_nothing_behind(store: Store, run_id: str) -> None:
    await fill(store, run_id)
    trial = await ask(store, run_id=run_id, is_dry=True)
    broken = replace(trial, members=(*trial.members, replace(trial.members[-1], propensity=2.0, is_uniform=True)))

    with pytest.raises(DBAPIError):
        await Samples(store).write(broken, rng=np.random.default_rng(0))

    assert await tasks(store) == []
    with pytest.raises(NotFoundError):
        await Samples(store).read(trial.id)


async def test_all_runs_of_a_task_are_one_pool_in_which_an_item_counts_once(store: Store, run_id: str) -> None:
    other = await store.start_run("again")
    await fill(store, run_id, 12, reviews=3)
    await fill(store, other, 20)
    queue = ReviewQueue(store)
    for task in await queue.claim("boxes", reviewer="ada", n=3):
        await queue.submit(task.id, task.attempt, reviewer="ada", annotations=[])

    sample = await ask(store, budget=50, explore=0)

    assert {member.id for member in sample.members} == {f"i{number:03}" for number in range(3, 20)}
    assert {member.run_id for member in sample.members} == {other}  # the newer pre-label of an item counts
    assert (sample.parameters["items"], sample.parameters["labelled"]) == (20, 3)


async def test_an_item_that_nobody_can_be_shown_is_not_in_the_pool(store: Store, run_id: str) -> None:
    hidden = a_member(1, uri=None, data=b"gone")
    kept = a_member(2, uri=None, data=b"kept", route="review")
    await store.save([hidden, kept, a_member(3)], run_id=run_id)

    candidates = await read_candidates(store, "detection", run_id=run_id, group_by=None, is_embedded=False)
    sample = await ask(store, run_id=run_id, budget=5, strategy="random")

    assert candidates.hidden == sample.parameters["hidden"] == 1
    assert {member.id for member in sample.members} == {"i002", "i003"}
    assert {member.propensity for member in sample.members} == {None}  # what is drawn of a part is no sample of all


async def refusal(store: Store, **request: Any) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as refused:
        await ask(store, **request)
    return refused.value


async def test_embeddings_that_are_missing_or_of_several_models_are_refused_and_nothing_else_needs_them(
    store: Store, run_id: str
) -> None:
    await store.save([a_member(1), a_member(2, vector=None)], run_id=run_id)
    mixed = await store.start_run("mixed")
    await store.save([a_member(3), a_member(4, model="other")], run_id=mixed)

    missing, several = await refusal(store, run_id=run_id), await refusal(store, run_id=mixed)
    by_radius = await refusal(store, run_id=run_id, strategy="margin", radius=1.0)

    assert "1 of 2 have none; set 'embeddings: true'" in missing.message
    assert "a radius needs an embedding" in by_radius.message
    assert several.code == "mixed_embeddings"
    assert "detector@1:abababababab, other@1:abababababab" in several.message
    assert len((await ask(store, run_id=run_id, strategy="margin")).members) == 2


async def test_a_request_that_cannot_be_met_says_so(store: Store, run_id: str) -> None:
    await fill(store, run_id, 5)

    assert "entropy or entropy_max" in (await refusal(store, run_id=run_id, strategy="entropy")).message
    assert "there are: least_confidence, margin" in (await refusal(store, run_id=run_id, strategy="entropy")).message
    assert "group by" in (await refusal(store, run_id=run_id, quotas={"cam0": 1})).message
    assert "slices" in (await refusal(store, run_id=run_id, strategy="stratified")).message
    assert (
        "no item is in group 'cam7'"
        in (await refusal(store, run_id=run_id, group_by="camera", quotas={"cam7": 1}, strategy="margin")).message
    )
    assert "name a task" in (await refusal(store, run_id=run_id, task=None)).message
    assert "seed" in (await refusal(store, run_id=run_id, seed=-1)).message
    with pytest.raises(NotFoundError, match="no run 'none'"):
        await ask(store, run_id="none")
    with pytest.raises(InvalidRequestError, match="budget"):
        await ask(store, run_id=run_id, budget=-1, strategy="margin")


async def test_an_empty_run_gives_an_empty_sample(store: Store, run_id: str) -> None:
    sample = await ask(store, run_id=run_id)

    assert sample.members == ()


async def test_an_item_without_the_wanted_uncertainty_counts_by_its_others(store: Store, run_id: str) -> None:
    def unsure(number: int, uncertainty: dict[str, float]) -> Labelled:
        member = a_member(number)
        return replace(member, pre_label=replace(member.pre_label, uncertainty=uncertainty))

    values: Sequence[dict[str, float]] = (
        {"margin": 0.4},
        {"miss_risk": 0.1, "nothing_found": 0.3},
        {"miss_risk": 0.2, "entropy_max": 0.6},
        {},
    )
    await store.save([unsure(number, own) for number, own in enumerate(values)], run_id=run_id)

    candidates = await read_candidates(store, "detection", run_id=run_id, group_by=None, is_embedded=False)

    assert candidates.uncertainty(["margin"])["margin"].tolist() == [0.4, 0.3, 0.6, 1.0]
    assert candidates.uncertainty(["mnlp"]) == {}


async def test_candidates_are_read_page_by_page_with_their_embeddings_in_order(
    store: Store, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(store, run_id, 23)

    found = await read_candidates(store, "detection", run_id=run_id, group_by="camera", is_embedded=True)

    assert [entry.item_id for entry in found.entries] == [f"i{number:03}" for number in range(23)]
    assert [entry.group for entry in found.entries[:3]] == ["cam0", "cam1", "cam0"]
    assert [entry.cost for entry in found.entries[:4]] == [1.0, 2.0, 3.0, 1.0]
    assert found.embeddings is not None
    wanted = [np.random.default_rng(number).normal(size=8).astype(np.float16) for number in range(23)]
    np.testing.assert_array_equal(found.embeddings, np.array(wanted))
    assert found.model == "detector@1:abababababab"
