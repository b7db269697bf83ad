"""Tests that claiming stays cheap when a queue is long."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sqlalchemy import text

from pipelines.store import queries
from pipelines.store.store import Store
from tests.pipelines.builders import a_labelled

_MANY = 20_000
_LARGE = ("prelabels", "review_tasks", "reviews")


async def test_a_claim_reads_the_queue_through_its_indexes(store: Store, run_id: str) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    await _queue_many(store)

    nodes = list(_nodes(await _plan_of_a_claim(store)))

    indexes = {node["Index Name"] for node in nodes if "Index Name" in node}
    assert {"review_tasks_to_serve", "review_tasks_leases"} <= indexes
    assert not [node for node in nodes if node["Node Type"] == "Seq Scan"]
    assert not [node for node in nodes if node["Node Type"] == "Sort"]


async def test_a_claim_touches_few_rows_of_a_long_queue(store: Store, run_id: str) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    await _queue_many(store)

    nodes = list(_nodes(await _plan_of_a_claim(store, "ANALYZE, ")))

    read = [node["Actual Rows"] for node in nodes if node["Node Type"] in ("Index Scan", "Seq Scan")]
    assert sum(read) < 100


async def test_a_page_of_results_finds_its_reviews_through_indexes(store: Store, run_id: str) -> None:
    await store.save([a_labelled(route="review")], run_id=run_id)
    await _queue_many(store)
    await _review_many(store)
    page = queries.labelled_page(run_id, 1_000, 100).compile(store.engine, compile_kwargs={"literal_binds": True})

    async with store.engine.begin() as connection:
        plan = (await connection.execute(text(f"EXPLAIN (FORMAT JSON) {page}".replace(":", r"\:")))).scalar_one()
    [whole] = json.loads(plan) if isinstance(plan, str) else plan

    nodes = list(_nodes(whole["Plan"]))
    indexes = {node["Index Name"] for node in nodes if "Index Name" in node}
    assert {"review_tasks_prelabel", "review_tasks_volunteered", "reviews_counting"} <= indexes
    assert not [node for node in nodes if node["Node Type"] == "Seq Scan" and node["Relation Name"] in _LARGE]


async def _queue_many(store: Store) -> None:
    """Fill the queue by copying one task in the database, a hundredth of them finished."""
    async with store.engine.begin() as connection:
        await connection.execute(
            text("""
            INSERT INTO prelabels (run_id, item_id, task, status, prediction, calibrated, uncertainty, provenance)
            SELECT run_id, item_id, n::text, status, prediction, calibrated, uncertainty, provenance
            FROM prelabels, generate_series(1, :many) AS n
            """),
            {"many": _MANY},
        )
        await connection.execute(
            text("""
            INSERT INTO review_tasks (prelabel_id, queue, priority, state)
            SELECT id, 'boxes', random(), CASE WHEN id % 100 = 0 THEN 'done' ELSE 'pending' END
            FROM prelabels WHERE task <> 'detection'
            """)
        )
        await connection.execute(text("ANALYZE review_tasks"))


async def _review_many(store: Store) -> None:
    """Answer all of them in the database, and as many that nobody has asked for."""
    async with store.engine.begin() as connection:
        for statement in (
            "INSERT INTO decisions (prelabel_id, route, reason, policy_id, propensity) "
            "SELECT id, 'review', '', '', 1 FROM prelabels WHERE task <> 'detection'",
            "INSERT INTO review_tasks (prelabel_id, queue, priority, state, stream) "
            "SELECT id, 'volunteered', 0, 'done', 'volunteered' FROM prelabels WHERE id % 2 = 0",
            "INSERT INTO reviews (task_id, attempt, reviewer, annotations) SELECT id, 1, 'ann', '[]' FROM review_tasks",
            "ANALYZE",
        ):
            await connection.execute(text(statement))


async def _plan_of_a_claim(store: Store, options: str = "") -> dict[str, Any]:
    explain = text(f"EXPLAIN ({options}FORMAT JSON) {queries.CLAIM.text}")
    arguments = {"queue": "boxes", "reviewer": "ann", "n": 3, "lease_s": 60.0, "max_expiries": 5}
    async with store.engine.begin() as connection:
        plan = (await connection.execute(explain, arguments)).scalar_one()
    [whole] = json.loads(plan) if isinstance(plan, str) else plan
    return whole["Plan"]


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)
