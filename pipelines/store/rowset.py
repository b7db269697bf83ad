"""Holds the rows that a save adds to the tables, and inserts those of several saves at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from pipelines.store import rows
from pipelines.store.inserts import Row, as_json, execute, insert_rows
from pipelines.store.places import placed
from pipelines.store.rows import FailedRows, Key, LabelledRows
from pipelines.store.tables import contents, decisions, embeddings, failures, items, prelabels, review_tasks, runs
from pipelines.types import Labelled, Outcome

_FINISHED_RUNS = insert_rows(runs, "id", "name", "status", finished_at=func.now())
_ITEMS = insert_rows(items, "run_id", "id", "media", "uri", "text", "meta", "prompts", "digest")
_ITEMS = _ITEMS.on_conflict_do_update(
    index_elements=["run_id", "id"],
    set_={name: _ITEMS.excluded[name] for name in ("media", "uri", "text", "meta", "prompts", "digest")},
)
_PRELABELS = (
    insert_rows(
        *(prelabels, "run_id", "item_id", "task", "status"),
        *("prediction", "confidence", "calibrated", "uncertainty", "provenance"),
        *("findings", "more_findings", "unmapped"),
    )
    .on_conflict_do_nothing(constraint="prelabels_key")
    .returning(prelabels.c.id, prelabels.c.run_id, prelabels.c.item_id, prelabels.c.task)
)
_DECISIONS = insert_rows(
    *(decisions, "prelabel_id", "route", "queue", "reason"),
    *("policy_id", "threshold", "propensity", "draw", "is_blind", "uniform_rate"),
)
_EMBEDDINGS = insert_rows(embeddings, "prelabel_id", "model", "dimension", "data")
_REVIEW_TASKS = insert_rows(review_tasks, "prelabel_id", "queue", "priority", "is_blind")
_FAILURES = insert_rows(failures, "run_id", "item_id", "task", "code", "message", "attempts", "retry_s")
_FAILURES = _FAILURES.on_conflict_do_update(
    constraint="failures_key",
    set_={name: _FAILURES.excluded[name] for name in ("code", "message", "attempts", "retry_s")}
    | {"created_at": func.now()},
)
_CONTENTS = insert(contents).on_conflict_do_nothing()


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSet:
    """What one save adds to one run.

    ``outcomes`` are all of the save's, in order, with a failure in place of each that cannot be stored. Of twins the
    first pre-label and the last failure are stored. ``contents`` are by digest.
    """

    run_id: str
    outcomes: list[Outcome]
    items: list[Row]
    labelled: dict[Key, LabelledRows]
    failures: list[Row]
    contents: dict[str, bytes]

    def size_bytes(self) -> int:
        """About what the database is sent."""
        labelled = self.labelled.values()
        embedded = (entry.embedding for entry in labelled if entry.embedding is not None)
        written = (*self.items, *(entry.prelabel for entry in labelled), *embedded, *self.failures)
        return sum(len(as_json(row)) for row in written) + sum(map(len, self.contents.values()))


def row_set(
    outcomes: Sequence[Outcome], *, run_id: str, known: Mapping[Key, str | None], is_listed: bool = False
) -> RowSet:
    """The rows of these outcomes.

    Args:
        known: what has a pre-label in the run already, with the digests of the items.
        is_listed: whether the items are in the run's listing, so that they have their rows, and failures are retried.
    """
    digests = {item_id: digest for (item_id, _), digest in known.items()}
    stored = [
        rows.rows_of(outcome, run_id=run_id, digest=digest, is_retried=is_listed)
        for outcome, digest in _with_ids_of_their_own(outcomes, digests)
    ]
    labelled = [entry for _, entry in stored if isinstance(entry, LabelledRows)]
    failed = [entry for _, entry in stored if isinstance(entry, FailedRows)]
    by_id = {entry.item["id"]: entry.item for entry in (*failed, *labelled)}  # what was labelled last counts most
    by_key = dict[Key, LabelledRows]()
    for entry in labelled:
        by_key.setdefault(rows.key_of(entry.prelabel), entry)
    failures_by_key = {rows.key_of(entry.failure): entry.failure for entry in failed}
    return RowSet(
        run_id=run_id,
        outcomes=[outcome for outcome, _ in stored],
        items=[] if is_listed else [row for item_id, row in by_id.items() if item_id not in digests],
        labelled=by_key,
        failures=[row for key, row in failures_by_key.items() if key not in by_key and key not in known],
        contents=dict(_kept_contents(outcome for outcome, _ in stored)),
    )


def _with_ids_of_their_own(
    outcomes: Sequence[Outcome], known: Mapping[str, str | None]
) -> Iterator[tuple[Outcome, str | None]]:
    """The outcomes with the digests of their items; one whose id already names another content becomes a failure."""
    digests = dict(known)
    for outcome in outcomes:
        item_id, digest = rows.item_id(outcome.item.id), rows.digest_of(outcome)
        if digest is not None and digests.get(item_id, digest) != digest:
            refused = rows.reused_id(outcome)
            yield refused, rows.digest_of(refused)
            continue
        if digest is not None and isinstance(outcome, Labelled):
            digests[item_id] = digest
        yield outcome, digest


def _kept_contents(outcomes: Iterable[Outcome]) -> Iterator[tuple[str, bytes]]:
    """The bytes of items that a human must see and nobody else can show."""
    for outcome in outcomes:
        if isinstance(outcome, Labelled) and outcome.decision.route != "accept" and outcome.item.data is not None:
            yield rows.labelled_digest(outcome), outcome.item.data


async def insert_runs(connection: AsyncConnection, row_sets: Sequence[RowSet]) -> None:
    """Make a finished run of each."""
    new = ({"id": added.run_id, "name": "online", "status": "done"} for added in row_sets)
    await execute(connection, _FINISHED_RUNS, new)


async def insert_all(connection: AsyncConnection, row_sets: Sequence[RowSet]) -> None:
    """Store the rows; their runs are there. Items that have a pre-label for the task already keep it."""
    await execute(connection, _ITEMS, (row for added in row_sets for row in added.items))
    await _insert_labelled(connection, row_sets)
    await execute(connection, _FAILURES, (row for added in row_sets for row in added.failures))
    kept = {digest: data for added in row_sets for digest, data in added.contents.items()}
    if kept:  # in one order, so that two who store the same contents never wait for each other
        await connection.execute(_CONTENTS, [{"digest": digest, "data": kept[digest]} for digest in sorted(kept)])


async def _insert_labelled(connection: AsyncConnection, row_sets: Sequence[RowSet]) -> None:
    """Store pre-labels, and the decisions, embeddings and review tasks of those that are new."""
    entries = {(added.run_id, key): entry for added in row_sets for key, entry in added.labelled.items()}
    new = await execute(connection, _PRELABELS, (entry.prelabel for entry in entries.values()))
    stored = [({"prelabel_id": row["id"]}, entries[row["run_id"], rows.key_of(row)]) for row in new]
    await execute(connection, _DECISIONS, (id_ | entry.decision for id_, entry in stored))
    await execute(connection, _EMBEDDINGS, (id_ | entry.embedding for id_, entry in stored if entry.embedding))
    to_review = [id_ | entry.review_task for id_, entry in stored if entry.review_task]
    draws = {id_["prelabel_id"]: entry.decision["draw"] for id_, entry in stored}
    drawn = {id_["prelabel_id"] for id_, entry in stored if entry.decision["uniform_rate"] is not None}
    await execute(connection, _REVIEW_TASKS, await placed(connection, to_review, draws, drawn=drawn))
