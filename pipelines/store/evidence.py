"""Reads what people have said of items that were drawn at random, and what there is beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import RowMapping as Row
from sqlalchemy import text

from models.types import Task
from pipelines.policy.conditions import Conditions
from pipelines.policy.evidence import Evidence, Judged
from pipelines.store import engine as database
from pipelines.store import rows
from pipelines.store.store import Store

_POOL = 5_000  # pre-labels, for their scores alone

PRE_LABEL_AND_ITEM = """
    prelabels.id AS prelabel_id, prelabels.task, prelabels.prediction, prelabels.confidence, prelabels.calibrated,
    prelabels.uncertainty, prelabels.provenance, prelabels.findings, prelabels.more_findings, prelabels.unmapped,
    items.id AS item_id, items.media AS item_media, items.uri AS item_uri, items.text AS item_text,
    items.meta AS item_meta, items.prompts AS item_prompts
"""
_ITEMS = "JOIN items ON items.run_id = prelabels.run_id AND items.id = prelabels.item_id"
_DIGEST = "prelabels.provenance ->> 'item_digest'"
_OF_MODELS = """
    prelabels.task = :task AND prelabels.provenance -> 'chain' ->> 0 = :first_model
    AND (CAST(:run_id AS text) IS NULL OR prelabels.run_id = :run_id)
"""
# The random sample, whatever models it was drawn under: what routing drew, and what a later selection drew uniformly.
_DRAWN = f"""
SELECT prelabels.id AS prelabel_id, prelabels.item_id, {_DIGEST} AS digest,
    coalesce(decisions.uniform_rate, members.propensity) AS rate,
    tasks.state, tasks.is_blind, reviews.annotations AS answer
FROM prelabels
JOIN decisions ON decisions.prelabel_id = prelabels.id
LEFT JOIN LATERAL (
    SELECT max(propensity) AS propensity FROM sample_members WHERE prelabel_id = prelabels.id AND is_uniform
) AS members ON true
LEFT JOIN review_tasks AS tasks
    ON tasks.prelabel_id = prelabels.id AND tasks.stream IN ('routed', 'random', 'sampled')
LEFT JOIN reviews ON reviews.task_id = tasks.id
WHERE prelabels.task = :task AND (decisions.uniform_rate IS NOT NULL OR members.propensity IS NOT NULL)
ORDER BY prelabels.id
"""  # noqa: S608
_SAMPLE = f"""
SELECT {PRE_LABEL_AND_ITEM} FROM prelabels {_ITEMS}
WHERE {_OF_MODELS} AND {_DIGEST} = ANY(CAST(:digests AS text[])) ORDER BY prelabels.id
"""  # noqa: S608
_OTHERS = f"""
SELECT {PRE_LABEL_AND_ITEM} FROM prelabels {_ITEMS} WHERE {_OF_MODELS} ORDER BY md5(prelabels.id::text) LIMIT {_POOL}
"""  # noqa: S608
_COUNT = f"SELECT count(*) AS items, coalesce(max(id), 0) AS until FROM prelabels WHERE {_OF_MODELS}"  # noqa: S608

_OVER = ("done", "dead")

Content = tuple[str, str]  # an item's id and digest


class EvidenceReader:
    """What a store holds for fitting policies."""

    def __init__(self, store: Store) -> None:
        self._engine = store.engine

    async def read(self, task: Task, conditions: Conditions, *, run_id: str | None = None) -> Evidence:
        """The evidence on pre-labels that were made under these conditions, in one run or in all.

        An item that was drawn under other models is a member of the sample, too, and its answer counts if it was given
        blind: how an item is drawn depends on none of its scores.
        """
        these = {"task": task, "first_model": conditions.chain[0], "run_id": run_id}
        async with database.reading(self._engine) as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ")
            drawn = (await connection.execute(text(_DRAWN), {"task": task})).mappings().all()
            these_digests = these | {"digests": list({row["digest"] for row in drawn})}
            sample = (await connection.execute(text(_SAMPLE), these_digests)).mappings().all()
            pool = (await connection.execute(text(_OTHERS), these)).mappings().all()
            population = (await connection.execute(text(_COUNT), these)).one()
        members = _latest([row for row in sample if _is_under(row, conditions)])
        found = [_judged(row, drawn_of) for row, drawn_of in _with_draws(members, drawn)]
        return Evidence(
            judged=[one for one in found if one is not None],
            pending=sum(one is None for one in found),
            pool=[(rows.item(row), rows.pre_label(row)) for row in pool if _is_under(row, conditions)],
            population=population.items,
            until=population.until,
        )


def _is_under(row: Row, conditions: Conditions) -> bool:
    return conditions.broken_by(rows.item(row), rows.pre_label(row).provenance, source=None) is None


def _latest(sample: Sequence[Row]) -> dict[Content, Row]:
    """One pre-label of each item and content: a drop that was labelled twice is not twice the evidence."""
    return {(row["item_id"], row["provenance"]["item_digest"]): row for row in sample}


def _with_draws(members: Mapping[Content, Row], drawn: Sequence[Row]) -> list[tuple[Row, list[Row]]]:
    """The members with what was drawn of the same item and content; a twin under another id has a draw of its own."""
    by_content: dict[Content, list[Row]] = {}
    for row in drawn:
        by_content.setdefault((row["item_id"], row["digest"]), []).append(row)
    return [(row, by_content[content]) for content, row in members.items() if content in by_content]


def _judged(row: Row, drawn: Sequence[Row]) -> Judged | None:
    """What is said of a member; None while it waits.

    A blind task that is still pending waits by a random priority, so it is missing at random. One that was set aside is
    not, and has no answer for good.
    """
    own = [one for one in drawn if one["prelabel_id"] == row["prelabel_id"] and one["state"] in _OVER]
    others = [one for one in drawn if one["state"] in _OVER and one["is_blind"]]
    over = sorted((*own, *others), key=lambda one: one["answer"] is None)  # an answer counts more than none
    if not over:
        return None
    best = over[0]
    return Judged(
        prelabel_id=row["prelabel_id"],
        item=rows.item(row),
        pre_label=rows.pre_label(row),
        answer=None if best["answer"] is None else rows.ANNOTATIONS.validate_python(best["answer"]),
        is_shown=not best["is_blind"],
        rate=best["rate"],
        answered_for=best["prelabel_id"],
    )
