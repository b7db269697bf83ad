"""Tests a small loop from end to end, over a real database: what trains does not certify, and labels add up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import text

from benchmarks.active_loop.command import QUICK_PLANS, run_loop
from benchmarks.active_loop.loop import Rounds
from benchmarks.active_loop.members import drawn_ids, lessons_of
from benchmarks.active_loop.rounds import Plan
from benchmarks.active_loop.subject import Lesson
from benchmarks.active_loop.truth import ALL
from pipelines.sampling import Strategy
from pipelines.store.store import Store
from tests.benchmarks.active_loop.builders import a_subject

PLAN = Plan(rounds=2, drop=90, budget=60, explore=0.8, held_out=40, error_rate=0.1)


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[Store]:
    async with Store.open(postgres_url) as opened:
        yield opened


@pytest.mark.parametrize("strategy", ["hybrid", pytest.param("random", marks=pytest.mark.statistics)])
async def test_what_trains_does_not_certify_labels_add_up_and_a_new_model_voids_the_old_policy(
    store: Store, tmp_path: Path, strategy: Strategy
) -> None:
    seen = list[Sequence[Lesson]]()
    rounds = Rounds(a_subject(seen), PLAN, store, tmp_path, strategy=strategy, seed=1)

    loop = await rounds.run(lambda _: None)

    drawn, lessons = set(await drawn_ids(store)), await lessons_of(store)
    stood_on = await _stood_on(store)
    assert drawn.isdisjoint(lessons) and len(seen[-1]) == len(lessons)
    assert len(stood_on) == 2 and all(ids and ids <= drawn for ids in stood_on)
    # 48 drawn and 12 chosen in each round; of those that were chosen a few may have been drawn for an audit.
    assert [labels for labels, _ in loop.curve()] == [0, 12, 24] and 20 <= len(lessons) <= 24
    assert loop.rounds[0].random_labels == 48 and 96 <= loop.rounds[1].random_labels <= 108
    answers = await _count(store, "reviews")
    assert answers - 24 >= loop.rounds[1].random_labels and 0 < loop.rounds[1].wrong_answers < 0.3 * answers
    decided = await _decided(store, "again-2")
    assert len({one.model for one in loop.rounds}) == 2
    assert {route for route, _ in decided} == {"review"} and all(
        "the models and their configurations are" in why for _, why in decided
    )


@pytest.mark.statistics
def test_a_quick_loop_keeps_its_promise_and_thresholds_by_eye_do_not() -> None:
    loop = run_loop("ner", QUICK_PLANS["ner"], "hybrid", 0)

    of_all = [one.drop[ALL] for one in loop.rounds]
    assert any(one.accepted for one in of_all)
    assert all(one.dataset_error <= 0.05 for one in of_all)
    assert any(one.by_eye[ALL].dataset_error > 0.05 for one in loop.rounds)
    assert loop.last_quality[ALL] > loop.rounds[0].quality[ALL] + 0.05


async def _stood_on(store: Store) -> list[set[str]]:
    """For each policy, the items that it was calibrated and certified on."""
    query = """
    SELECT policies.id, array_agg(prelabels.item_id) AS ids FROM policies
    JOIN LATERAL jsonb_array_elements_text((evidence -> 'certified_on') || (evidence -> 'calibrated_on')) AS own ON true
    JOIN prelabels ON prelabels.id = own::bigint GROUP BY 1
    """
    async with store.engine.connect() as connection:
        return [set(row.ids) for row in await connection.execute(text(query))]


async def _decided(store: Store, run_id: str) -> list[tuple[str, str]]:
    query = "SELECT route, reason FROM decisions JOIN prelabels ON prelabels.id = prelabel_id WHERE run_id = :run_id"
    async with store.engine.connect() as connection:
        return [(row.route, row.reason) for row in await connection.execute(text(query), {"run_id": run_id})]


async def _count(store: Store, table: str) -> int:
    async with store.engine.connect() as connection:
        return (await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one()  # noqa: S608
