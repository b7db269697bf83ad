"""Reads what people have said of items that were drawn at random, and what there is beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import text

from models.types import Task
from pipelines.policy.conditions import Conditions
from pipelines.policy.evidence import Evidence, Judged
from pipelines.store import engine as database
from pipelines.store import rows
from pipelines.store.store import Store
from pipelines.types import PreLabel

_POOL = 5_000  # pre-labels, for their scores alone

_COLUMNS = """
    prelabels.id AS prelabel_id, prelabels.task, prelabels.prediction, prelabels.confidence, prelabels.calibrated,
    prelabels.uncertainty, prelabels.provenance, prelabels.findings, prelabels.more_findings, prelabels.unmapped,
    items.id AS item_id, items.media AS item_media, items.uri AS item_uri, items.text AS item_text,
    items.meta AS item_meta, items.prompts AS item_prompts
"""
_OF_MODELS = """
    prelabels.task = :task AND prelabels.provenance -> 'chain' ->> 0 = :first_model
    AND (CAST(:run_id AS text) IS NULL OR prelabels.run_id = :run_id)
"""
# The random sample: what routing drew, and what a later selection drew uniformly. A blind task that is still pending
# waits by a random priority, so it is missing at random; one that was set aside is not, and counts against us.
_SAMPLE = f"""
SELECT {_COLUMNS}, coalesce(decisions.uniform_rate, members.propensity) AS rate,
    tasks.state, tasks.is_blind, reviews.annotations AS answer
FROM prelabels
JOIN items ON items.run_id = prelabels.run_id AND items.id = prelabels.item_id
JOIN decisions ON decisions.prelabel_id = prelabels.id
LEFT JOIN LATERAL (
    SELECT max(propensity) AS propensity FROM sample_members WHERE prelabel_id = prelabels.id AND is_uniform
) AS members ON true
LEFT JOIN review_tasks AS tasks ON tasks.prelabel_id = prelabels.id AND tasks.stream IN ('routed', 'random', 'sampled')
LEFT JOIN reviews ON reviews.task_id = tasks.id
WHERE {_OF_MODELS} AND (decisions.uniform_rate IS NOT NULL OR members.propensity IS NOT NULL)
ORDER BY prelabels.id
"""  # noqa: S608
_OTHERS = f"""
SELECT {_COLUMNS}
FROM prelabels JOIN items ON items.run_id = prelabels.run_id AND items.id = prelabels.item_id
WHERE {_OF_MODELS} ORDER BY md5(prelabels.id::text) LIMIT {_POOL}
"""  # noqa: S608
_COUNT = f"SELECT count(*) FROM prelabels WHERE {_OF_MODELS}"  # noqa: S608


class EvidenceReader:
    """What a store holds for fitting policies."""

    def __init__(self, store: Store) -> None:
        self._engine = store.engine

    async def read(self, task: Task, conditions: Conditions, *, run_id: str | None = None) -> Evidence:
        """The evidence of pre-labels that were made under these conditions, in one run or in all."""
        these = {"task": task, "first_model": conditions.chain[0], "run_id": run_id}
        async with database.reading(self._engine) as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ")
            sample = (await connection.execute(text(_SAMPLE), these)).mappings().all()
            pool = (await connection.execute(text(_OTHERS), these)).mappings().all()
            population = (await connection.execute(text(_COUNT), these)).scalar_one()
        members = [row for row in sample if _is_under(row, conditions)]
        return Evidence(
            judged=_latest([_judged(row) for row in members if row["state"] in ("done", "dead")]),
            pending=sum(row["state"] not in ("done", "dead") for row in members),
            pool=[(rows.item(row), rows.pre_label(row)) for row in pool if _is_under(row, conditions)],
            population=population,
        )


def _is_under(row: Any, conditions: Conditions) -> bool:
    pre_label: PreLabel = rows.pre_label(row)
    return conditions.broken_by(rows.item(row), pre_label.provenance, source=None) is None


def _judged(row: Any) -> Judged:
    answer = row["answer"]
    return Judged(
        prelabel_id=row["prelabel_id"],
        item=rows.item(row),
        pre_label=rows.pre_label(row),
        answer=None if answer is None else rows.ANNOTATIONS.validate_python(answer),
        is_shown=not row["is_blind"],
        rate=row["rate"],
    )


def _latest(judged: Sequence[Judged]) -> list[Judged]:
    """One judgement of each item and content: a drop that was labelled twice is not twice the evidence."""
    by_item = {(one.item.id, one.pre_label.provenance.item_digest): one for one in judged}
    return list(by_item.values())
