"""Reads what people have said of items that were drawn at random, and what there is beside them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import RowMapping as Row
from sqlalchemy import text

from models.types import Task
from pipelines.policy.conditions import Conditions
from pipelines.policy.evenly import Member, evenly
from pipelines.policy.evidence import Evidence, Judged
from pipelines.store import engine as database
from pipelines.store import rows
from pipelines.store.policies import StoredPolicy
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
SELECT prelabels.item_id, {_DIGEST} AS digest, max(coalesce(decisions.uniform_rate, members.propensity)) AS rate
FROM prelabels
JOIN decisions ON decisions.prelabel_id = prelabels.id
LEFT JOIN sample_members AS members ON members.prelabel_id = prelabels.id AND members.is_uniform
WHERE prelabels.task = :task AND (decisions.uniform_rate IS NOT NULL OR members.is_uniform)
GROUP BY 1, 2
"""  # noqa: S608
# What people have said of these contents, or are to say, by whatever model's pre-label they come to them. They come in
# random order to what was drawn: by routing, by a sample that queued it, or by one that hid what had not been seen yet.
# But a platform serves its tasks as it likes. An answer that was changed since is as old as its first version.
_ANSWERS = f"""
SELECT prelabels.id AS prelabel_id, prelabels.item_id, {_DIGEST} AS digest,
    prelabels.provenance -> 'chain' AS chain, prelabels.provenance ->> 'config_digest' AS config_digest,
    CASE WHEN reviews.id IS NULL THEN tasks.state ELSE 'done' END AS state, tasks.queue,
    tasks.is_blind AND reviews.was_shown IS NOT TRUE AS is_blind,
    reviews.id AS review_id, reviews.annotations AS answer,
    CASE WHEN reviews.id IS NOT NULL THEN (SELECT min(submitted_at) FROM reviews WHERE task_id = tasks.id) END
        AS answered_at,
    reviews.platform_answer_id IS NULL AND (
        tasks.stream = 'random' OR decisions.uniform_rate IS NOT NULL OR (tasks.is_blind AND NOT decisions.is_blind)
    ) AS is_in_random_order
FROM prelabels
JOIN decisions ON decisions.prelabel_id = prelabels.id
JOIN review_tasks AS tasks ON tasks.prelabel_id = prelabels.id AND tasks.stream IN ('routed', 'random', 'sampled')
LEFT JOIN reviews ON reviews.task_id = tasks.id AND CASE
    WHEN CAST(:until AS timestamptz) IS NULL THEN reviews.void_since IS NULL
    ELSE reviews.submitted_at <= :until AND coalesce(reviews.void_since > :until, true)
END
WHERE prelabels.task = :task AND {_DIGEST} = ANY(CAST(:digests AS text[]))
    AND (reviews.id IS NOT NULL OR tasks.state <> 'done')
ORDER BY prelabels.id
"""  # noqa: S608
_SAMPLE = f"""
SELECT {PRE_LABEL_AND_ITEM} FROM prelabels {_ITEMS}
WHERE {_OF_MODELS} AND {_DIGEST} = ANY(CAST(:digests AS text[])) ORDER BY prelabels.id
"""  # noqa: S608
_THESE = f"""
SELECT {PRE_LABEL_AND_ITEM} FROM prelabels {_ITEMS}
WHERE prelabels.id = ANY(CAST(:ids AS bigint[])) ORDER BY prelabels.id
"""  # noqa: S608
_OTHERS = f"""
SELECT {PRE_LABEL_AND_ITEM} FROM prelabels {_ITEMS} WHERE {_OF_MODELS} ORDER BY md5(prelabels.id::text) LIMIT {_POOL}
"""  # noqa: S608
_COUNT = f"SELECT count(*) AS items, coalesce(max(id), 0) AS until FROM prelabels WHERE {_OF_MODELS}"  # noqa: S608

_OVER = ("done", "dead")

Content = tuple[str, str]  # an item's id and digest; a twin under another id has a draw of its own


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
            digests = {"digests": list({row["digest"] for row in drawn})}
            until = {"task": task, "until": None}
            answers = (await connection.execute(text(_ANSWERS), until | digests)).mappings().all()
            sample = (await connection.execute(text(_SAMPLE), these | digests)).mappings().all()
            pool = (await connection.execute(text(_OTHERS), these)).mappings().all()
            population = (await connection.execute(text(_COUNT), these)).one()
        rates = {(row["item_id"], row["digest"]): row["rate"] for row in drawn}
        members = _latest([row for row in sample if _content(row) in rates and _is_under(row, conditions)])
        said = _by_content(answers)
        judged = evenly([_member(row, said.get(content, []), rates[content]) for content, row in members.items()])
        return Evidence(
            judged=judged,
            pending=len(members) - len(judged),
            pool=[(rows.item(row), rows.pre_label(row)) for row in pool if _is_under(row, conditions)],
            population=population.items,
            until=population.until,
        )

    async def certified_on(self, stored: StoredPolicy) -> list[Judged]:
        """What a policy was certified on, with the answers that there were when it was fitted."""
        async with database.reading(self._engine) as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ")
            these = {"ids": stored.evidence["certified_on"]}
            members = (await connection.execute(text(_THESE), these)).mappings().all()
            digests = list({row["provenance"]["item_digest"] for row in members})
            then = {"task": stored.policy.task, "until": stored.created_at, "digests": digests}
            said = _by_content((await connection.execute(text(_ANSWERS), then)).mappings().all())
        found = (_member(row, said.get(_content(row), []), 1.0) for row in members)
        return [one.judged or one.unanswered for one in found]


def _is_under(row: Row, conditions: Conditions) -> bool:
    return conditions.broken_by(rows.item(row), rows.pre_label(row).provenance, source=None) is None


def _content(row: Row) -> Content:
    return row["item_id"], row["provenance"]["item_digest"]


def _latest(sample: Sequence[Row]) -> dict[Content, Row]:
    """One pre-label of each item and content: a drop that was labelled twice is not twice the evidence."""
    return {_content(row): row for row in sample}


def _by_content(answers: Sequence[Row]) -> dict[Content, list[Row]]:
    by_content: dict[Content, list[Row]] = {}
    for row in answers:
        by_content.setdefault((row["item_id"], row["digest"]), []).append(row)
    return by_content


def _member(row: Row, said: Sequence[Row], rate: float) -> Member:
    """A member of the sample with what is said of it.

    A task that was set aside has no answer for good. An answer that was given with the pre-label in sight counts if
    these models had made that.
    """
    over = [one for one in said if one["state"] in _OVER and (one["is_blind"] or _is_same_model(one, row))]
    waits = [one for one in said if one["state"] not in _OVER and one["prelabel_id"] == row["prelabel_id"]]
    best = min(over, key=lambda one: (one["answer"] is None, not one["is_blind"]), default=None)
    judged = Judged(
        prelabel_id=row["prelabel_id"],
        item=rows.item(row),
        pre_label=rows.pre_label(row),
        answer=None if best is None or best["answer"] is None else rows.ANNOTATIONS.validate_python(best["answer"]),
        is_shown=best is not None and not best["is_blind"],
        rate=rate,
        answered_for=None if best is None else best["prelabel_id"],
        review_id=None if best is None else best["review_id"],
        answered_at=None if best is None else best["answered_at"],
    )
    return Member(
        judged=None if best is None else judged,
        unanswered=judged,
        queue=best["queue"] if best is not None else waits[0]["queue"] if waits else "",
        is_in_random_order=best is not None and best["is_in_random_order"],
    )


def _is_same_model(answer: Row, row: Row) -> bool:
    """Whether the pre-label that was shown is what the same models say now, too."""
    provenance = row["provenance"]
    return (answer["chain"], answer["config_digest"]) == (provenance["chain"], provenance["config_digest"])
