"""Reads what a sample can be chosen from: pre-labels with their uncertainty and embedding, and who has seen them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import text

from models.types import Task
from pipelines.errors import InvalidRequestError
from pipelines.store import engine as database
from pipelines.store.jsonb import storable
from pipelines.store.rows import priority
from pipelines.store.store import Store

_PAGE = 5_000

# The tasks that give a pre-label its answer (tables.gives_answer).
_ANSWERING = "tasks.prelabel_id = prelabels.id AND tasks.stream IN ('routed', 'random', 'sampled')"
_COUNTING = "JOIN reviews ON reviews.task_id = tasks.id AND reviews.void_since IS NULL"
_CANDIDATES = f"""
SELECT prelabels.id, prelabels.run_id, prelabels.item_id, prelabels.uncertainty,
    prelabels.provenance ->> 'item_digest' AS digest,
    items.meta ->> CAST(:group_by AS text) AS member_of,
    jsonb_array_length(prelabels.prediction -> 'annotations') AS annotations,
    CAST(prelabels.prediction ->> 'duration_s' AS double precision) AS duration_s,
    embeddings.model, embeddings.data,
    items.uri IS NOT NULL OR items.text IS NOT NULL OR contents.digest IS NOT NULL AS can_be_shown,
    EXISTS (SELECT FROM review_tasks AS tasks WHERE {_ANSWERING}) AS has_task,
    EXISTS (SELECT FROM review_tasks AS tasks WHERE {_ANSWERING} AND tasks.is_blind) AS has_blind_task,
    EXISTS (SELECT FROM review_tasks AS tasks {_COUNTING} WHERE {_ANSWERING}) AS is_answered,
    EXISTS (
        SELECT FROM review_tasks AS tasks {_COUNTING}
        WHERE tasks.prelabel_id = prelabels.id AND tasks.stream = 'volunteered'
    ) AS is_volunteered
FROM prelabels
JOIN items ON items.run_id = prelabels.run_id AND items.id = prelabels.item_id
LEFT JOIN contents ON contents.digest = items.digest
LEFT JOIN embeddings ON :is_embedded AND embeddings.prelabel_id = prelabels.id
WHERE prelabels.task = :task AND (CAST(:run_id AS text) IS NULL OR prelabels.run_id = :run_id)
    AND prelabels.id > :after
ORDER BY prelabels.id
LIMIT {_PAGE}
"""  # noqa: S608


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A pre-label as a sample sees it; ``cost`` is 1 + its annotations, or 1 + a recording's seconds.

    ``has_task`` says whether its item has been, or will be, seen by a human, ``counts_if_drawn`` whether that human's
    answer is one about this pre-label, or about no pre-label at all, and was asked for: what a platform has volunteered
    is label enough, and no evidence.
    """

    prelabel_id: int
    run_id: str
    item_id: str
    uncertainty: Mapping[str, float]
    group: str
    cost: float
    has_task: bool
    counts_if_drawn: bool
    is_labelled: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidates:
    """All that may be chosen from, in the order of their storing.

    Attributes:
        embeddings: (n, d) float16, a row for each entry; None where they were not asked for, or not all are there.
        model: whose they are, as name@version:digest.
        without_embedding: how many entries have none.
        hidden: how many pre-labels were left out because nobody can be shown their item: its bytes were not kept.
    """

    entries: Sequence[Candidate]
    embeddings: np.ndarray | None
    model: str | None
    without_embedding: int
    hidden: int

    def uncertainty(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """The first of the named uncertainties that any entry has: (n,) float64 by its name; nothing if there is none.

        An entry without it counts by how unsure it is that nothing is there, if it says so, else by the largest of its
        others, as in the review queue: an item that the strategy cannot judge must not be passed over.
        """
        name = next((name for name in names if any(name in entry.uncertainty for entry in self.entries)), None)
        if name is None:
            return {}
        return {name: np.array([_value(entry.uncertainty, name) for entry in self.entries], dtype=np.float64)}

    def measures(self) -> list[str]:
        """The names of all uncertainties that there are."""
        return sorted({name for entry in self.entries for name in entry.uncertainty})


def _value(uncertainty: Mapping[str, float], name: str) -> float:
    if (found := uncertainty.get(name, uncertainty.get("nothing_found"))) is not None:
        return found
    return priority(uncertainty)


async def read_candidates(
    store: Store, task: Task, *, run_id: str | None, group_by: str | None, is_embedded: bool
) -> Candidates:
    """The candidates of a run, or of all runs; of an item that was labelled several times, the last pre-label counts.

    Args:
        group_by: a key of the items' meta; entries without it are in the group "".
        is_embedded: whether to read the embeddings, too.

    Raises:
        InvalidRequestError: the embeddings are of several models, which cannot be compared (mixed_embeddings).
    """
    entries, vectors, hidden = dict[tuple[str, str], Candidate](), dict[tuple[str, str], tuple[str, bytes] | None](), 0
    blind = dict[tuple[str, str], bool]()  # whether an item has a blind task, by any of its pre-labels
    arguments = {
        "task": task,
        "run_id": None if run_id is None else storable(run_id),
        "group_by": None if group_by is None else storable(group_by),
        "is_embedded": is_embedded,
    }
    after, page = -1, list[Any]()
    async with database.reading(store.engine) as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ")  # all pages as of one moment
        while after < 0 or len(page) == _PAGE:
            page = (await connection.execute(text(_CANDIDATES), arguments | {"after": after})).mappings().all()
            after = page[-1]["id"] if page else 0
            for row in page:
                if not row["can_be_shown"]:
                    hidden += 1
                    continue
                key = (row["item_id"], row["digest"])
                blind[key] = row["has_blind_task"] or blind.get(key, False)
                entries[key] = _candidate(row, entries.get(key), has_blind_answer=blind[key])
                vectors[key] = None if row["data"] is None else (row["model"], row["data"])
    embeddings, model = _stacked(list(vectors.values()))
    return Candidates(
        entries=list(entries.values()),
        embeddings=embeddings,
        model=model,
        without_embedding=sum(vector is None for vector in vectors.values()),
        hidden=hidden,
    )


def _candidate(row: Any, earlier: Candidate | None, *, has_blind_answer: bool) -> Candidate:
    """A row's candidate; a human who has seen an earlier pre-label of the item has seen the item."""
    weight = row["annotations"] if row["duration_s"] is None else row["duration_s"]
    return Candidate(
        prelabel_id=row["id"],
        run_id=row["run_id"],
        item_id=row["item_id"],
        uncertainty=row["uncertainty"],
        group=row["member_of"] or "",
        cost=1.0 + max(weight, 0.0),
        has_task=row["has_task"] or row["is_volunteered"] or (earlier is not None and earlier.has_task),
        counts_if_drawn=row["has_task"] or has_blind_answer,
        is_labelled=row["is_answered"] or row["is_volunteered"] or (earlier is not None and earlier.is_labelled),
    )


def _stacked(vectors: Sequence[tuple[str, bytes] | None]) -> tuple[np.ndarray | None, str | None]:
    """(n, d) float16 and whose they are; None where one is missing."""
    models = sorted({vector[0] for vector in vectors if vector is not None})
    if len(models) > 1:
        message = f"the embeddings are of {len(models)} models ({', '.join(models[:3])}); sample a run of one of them"
        raise InvalidRequestError("mixed_embeddings", message)
    data = [vector[1] for vector in vectors if vector is not None]
    if not data or len(data) < len(vectors):
        return None, models[0] if models else None
    if len(sizes := {len(one) for one in data}) > 1:
        message = f"the embeddings of {models[0]} have {len(sizes)} different lengths; label the items anew"
        raise InvalidRequestError("mixed_embeddings", message)
    return np.frombuffer(b"".join(data), dtype="<f2").reshape(len(data), -1), models[0]
