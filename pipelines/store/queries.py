"""Asks for a run's results and counts, for the state of the queues, and for tasks to review."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Select, and_, case, func, literal_column, select, text

from pipelines.store import rows
from pipelines.store.jsonb import storable
from pipelines.store.tables import (
    contents,
    decisions,
    failures,
    gives_answer,
    items,
    planted,
    prelabels,
    review_tasks,
    reviews,
)

_VOLUNTEERED = literal_column("'volunteered'")  # an index is found by these words

# One statement. Of the tasks that nobody holds, or whose lease has run out, it takes the most urgent, oldest first
# among equals, and steps over rows that another claim is taking. A task whose lease has run out too often is set
# aside as dead, so that an item which kills its reviewer's client cannot circle for ever.
CLAIM = text("""
WITH buried AS (
    UPDATE review_tasks
    SET state = 'dead', expiries = expiries + 1, lease_owner = NULL, lease_until = NULL
    WHERE id IN (
        SELECT id FROM review_tasks
        WHERE queue = :queue AND state = 'leased' AND lease_until <= now() AND expiries + 1 >= :max_expiries
        FOR UPDATE SKIP LOCKED
    )
    RETURNING id, attempt
), chosen AS (
    SELECT id FROM review_tasks
    WHERE queue = :queue AND state IN ('pending', 'leased')
        AND (state = 'pending' OR (lease_until <= now() AND expiries + 1 < :max_expiries))
        AND not_for IS DISTINCT FROM :reviewer
    ORDER BY priority DESC, id
    LIMIT :n
    FOR UPDATE SKIP LOCKED
), served AS (
    UPDATE review_tasks AS task
    SET state = 'leased',
        attempt = task.attempt + 1,
        expiries = task.expiries + (task.state = 'leased')::int,
        lease_owner = :reviewer,
        lease_until = clock_timestamp() + :lease_s * interval '1 second'
    FROM chosen
    WHERE task.id = chosen.id
    RETURNING task.id, task.attempt, task.lease_until
), logged AS (
    INSERT INTO audit_log (action, actor, task_id, attempt)
    SELECT 'buried', 'clock', id, attempt FROM buried
    UNION ALL
    SELECT 'served', :reviewer, id, attempt FROM served
)
SELECT id, attempt, lease_until FROM served
""")

COUNT_FINDINGS = text("""
SELECT found.rule, found.action, sum(found.count)::bigint AS findings, count(*) AS items
FROM prelabels, LATERAL (
    SELECT one ->> 'rule' AS rule, one ->> 'action' AS action, sum(coalesce((one ->> 'count')::bigint, 1)) AS count
    FROM jsonb_array_elements(findings || more_findings) AS of_item (one)
    GROUP BY 1, 2
) AS found
WHERE run_id = :run_id AND findings <> '[]'
GROUP BY found.rule, found.action
""")

COUNT_UNMAPPED = text("""
SELECT label, sum(annotations::bigint)::bigint AS annotations, count(*) AS items
FROM prelabels, jsonb_each_text(unmapped) AS of_item (label, annotations)
WHERE run_id = :run_id AND unmapped <> '{}'
GROUP BY label
""")


def labelled_page(run_id: str, after: int, limit: int) -> Select[Any]:
    """Pre-labels behind position ``after``, in order, each with its item, decision and review.

    What the queue asked for counts before what a platform has volunteered.
    """
    asked, volunteered = reviews.alias("asked"), reviews.alias("volunteered")
    unasked = review_tasks.alias("unasked")
    return (
        select(
            prelabels.c.id.label("position"),
            *rows.ITEM_COLUMNS,
            *rows.PRE_LABEL_COLUMNS,
            *rows.DECISION_COLUMNS,
            *rows.REVIEW_COLUMNS,
        )
        .select_from(
            prelabels.join(items)
            .join(decisions)
            .outerjoin(review_tasks, and_(review_tasks.c.prelabel_id == prelabels.c.id, gives_answer))
            .outerjoin(asked, and_(asked.c.task_id == review_tasks.c.id, asked.c.void_since.is_(None)))
            .outerjoin(unasked, and_(unasked.c.prelabel_id == prelabels.c.id, unasked.c.stream == _VOLUNTEERED))
            .outerjoin(volunteered, and_(volunteered.c.task_id == unasked.c.id, volunteered.c.void_since.is_(None)))
            .outerjoin(reviews, reviews.c.id == func.coalesce(asked.c.id, volunteered.c.id))
        )
        .where(prelabels.c.run_id == storable(run_id), prelabels.c.id > after)
        .order_by(prelabels.c.id)
        .limit(limit)
    )


def failed_page(run_id: str, after: int, limit: int) -> Select[Any]:
    """Failures behind position ``after``, in order, each with its item."""
    return (
        select(
            failures.c.id.label("position"),
            *rows.ITEM_COLUMNS,
            failures.c.task,
            failures.c.code,
            failures.c.message,
            failures.c.attempts,
        )
        .select_from(failures.join(items))
        .where(failures.c.run_id == storable(run_id), failures.c.id > after)
        .order_by(failures.c.id)
        .limit(limit)
    )


def count_labelled(run_id: str) -> Select[Any]:
    statuses = {name: prelabels.c.status == name for name in ("labels", "nothing_found")}
    routes = {name: decisions.c.route == name for name in ("accept", "audit", "review", "scratch")}
    counted = (func.count().filter(condition).label(name) for name, condition in (statuses | routes).items())
    return (
        select(prelabels.c.task, *counted)
        .select_from(prelabels.join(decisions))
        .where(prelabels.c.run_id == storable(run_id))
        .group_by(prelabels.c.task)
    )


def count_failed(run_id: str) -> Select[Any, int]:
    return (
        select(failures.c.task, func.count().label("failed"))
        .where(failures.c.run_id == storable(run_id))
        .group_by(failures.c.task)
    )


def queue_overviews() -> Select[Any]:
    is_expired = and_(review_tasks.c.state == "leased", review_tasks.c.lease_until <= func.now())
    state = case((is_expired, "pending"), else_=review_tasks.c.state)
    return (
        select(
            review_tasks.c.queue.label("name"),
            *(func.count().filter(state == name).label(name) for name in ("pending", "leased", "done", "dead")),
            func.min(review_tasks.c.created_at).filter(state == "pending").label("oldest"),
        )
        .where(review_tasks.c.stream != "volunteered")  # these are in no queue
        .group_by(review_tasks.c.queue)
        .order_by(review_tasks.c.queue)
    )


def review_tasks_with_content(task_ids: Iterable[int]) -> Select[Any]:
    """What a reviewer needs of each task, most urgent first."""
    return (
        select(
            review_tasks.c.id.label("task_id"),
            review_tasks.c.queue.label("task_queue"),
            review_tasks.c.priority,
            review_tasks.c.is_blind,
            planted.c.prediction.label("planted_prediction"),
            decisions.c.reason,
            contents.c.digest.is_not(None).label("has_content"),
            *rows.ITEM_COLUMNS,
            *rows.PRE_LABEL_COLUMNS,
        )
        .select_from(
            review_tasks.join(prelabels)
            .join(items)
            .join(decisions, decisions.c.prelabel_id == prelabels.c.id)
            .outerjoin(planted, planted.c.task_id == review_tasks.c.id)
            .outerjoin(contents, contents.c.digest == items.c.digest)
        )
        .where(review_tasks.c.id.in_(task_ids))
        .order_by(review_tasks.c.priority.desc(), review_tasks.c.id)
    )


def content_of_review_task(task_id: int) -> Select[str, bytes]:
    """The kept bytes of a task's item, and its medium."""
    return (
        select(items.c.media, contents.c.data)
        .select_from(review_tasks.join(prelabels).join(items).join(contents, contents.c.digest == items.c.digest))
        .where(review_tasks.c.id == task_id)
    )
