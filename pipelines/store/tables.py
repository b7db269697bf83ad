"""Names the store's tables for the queries; migrations/ builds them, with the rules that each row must keep."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Sequence,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData()

_now = func.now()
_moment = DateTime(timezone=True)

# Pre-labels and failures draw from one sequence, so that a run's results have one order.
_position = Sequence("outcome_position", metadata=metadata, data_type=BigInteger).next_value()

runs = Table(
    "runs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("status", Text, nullable=False, server_default="running"),
    Column("created_at", _moment, nullable=False, server_default=_now),
    Column("finished_at", _moment),
    Column("task", Text),
    Column("source", JSONB),
    Column("fingerprint", JSONB),
    Column("is_listed", Boolean, nullable=False, server_default="false"),
    Column("is_stopping", Boolean, nullable=False, server_default="false"),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("worker", Text),
    Column("is_posted", Boolean, nullable=False, server_default="false"),
    Column("progress", JSONB),
    Column("reason", Text),
)
Index("runs_over_drops", runs.c.created_at.desc(), runs.c.id, postgresql_where=runs.c.task.is_not(None))
Index(
    *("runs_to_work_on", runs.c.created_at, runs.c.id),
    postgresql_where=text("is_posted AND status IN ('queued', 'running')"),
)

items = Table(
    "items",
    metadata,
    Column("run_id", Text, ForeignKey("runs.id"), primary_key=True),
    Column("id", Text, primary_key=True),
    Column("media", Text, nullable=False),
    Column("uri", Text),
    Column("text", Text),
    Column("meta", JSONB, nullable=False),
    Column("prompts", JSONB, nullable=False),
    Column("digest", Text),
    Column("position", BigInteger),
    Column("listed_in", Integer),
)
Index(
    *("items_in_listing", items.c.run_id, items.c.position, items.c.id),
    postgresql_where=items.c.position.is_not(None),
)

contents = Table(
    "contents",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("data", LargeBinary, nullable=False),
    Column("created_at", _moment, nullable=False, server_default=_now),
)

results = Table(
    "results",
    metadata,
    Column("question", Text, primary_key=True),
    Column("prediction", LargeBinary, nullable=False),
    Column("embedding", LargeBinary),
    Column("embedding_model", Text),
    Column("created_at", _moment, nullable=False, server_default=_now),
    Index("results_by_age", "created_at"),
)

prelabels = Table(
    "prelabels",
    metadata,
    Column("id", BigInteger, primary_key=True, server_default=_position),
    Column("run_id", Text, nullable=False),
    Column("item_id", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("prediction", JSONB, nullable=False),
    Column("confidence", Double),
    Column("calibrated", Boolean, nullable=False),
    Column("uncertainty", JSONB, nullable=False),
    Column("provenance", JSONB, nullable=False),
    Column("findings", JSONB, nullable=False, server_default="[]"),
    Column("more_findings", JSONB, nullable=False, server_default="[]"),
    Column("unmapped", JSONB, nullable=False, server_default="{}"),
    Column("created_at", _moment, nullable=False, server_default=_now),
    ForeignKeyConstraint(["run_id", "item_id"], ["items.run_id", "items.id"]),
    UniqueConstraint("run_id", "item_id", "task", name="prelabels_key"),
    Index("prelabels_in_order", "run_id", "id"),
)
Index("prelabels_by_content", prelabels.c.run_id, prelabels.c.provenance["item_digest"].astext)

decisions = Table(
    "decisions",
    metadata,
    Column("prelabel_id", BigInteger, ForeignKey("prelabels.id"), primary_key=True, autoincrement=False),
    Column("route", Text, nullable=False),
    Column("queue", Text),
    Column("reason", Text, nullable=False),
    Column("policy_id", Text, nullable=False),
    Column("threshold", Double),
    Column("propensity", Double, nullable=False),
    Column("draw", Double),
    Column("is_blind", Boolean, nullable=False, server_default="false"),
    Column("uniform_rate", Double),
)
Index("decisions_drawn", decisions.c.prelabel_id, postgresql_where=decisions.c.uniform_rate.is_not(None))
Index("decisions_by_policy", decisions.c.policy_id, decisions.c.prelabel_id)

# float16, little-endian; model is name@version:digest.
embeddings = Table(
    "embeddings",
    metadata,
    Column("prelabel_id", BigInteger, ForeignKey("prelabels.id"), primary_key=True, autoincrement=False),
    Column("model", Text, nullable=False),
    Column("dimension", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

calibrations = Table(
    "calibrations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("task", Text, nullable=False),
    Column("content", JSONB, nullable=False),
    Column("created_at", _moment, nullable=False, server_default=_now),
)

policies = Table(
    "policies",
    metadata,
    Column("id", Text, primary_key=True),
    Column("task", Text, nullable=False),
    Column("round", Integer, nullable=False),
    Column("calibration_id", Text, ForeignKey("calibrations.id")),
    Column("content", JSONB, nullable=False),
    Column("evidence", JSONB, nullable=False),
    Column("created_at", _moment, nullable=False, server_default=_now),
    UniqueConstraint("task", "round", name="policies_round"),
)

# What happened to a task's policy; the last event says what is in force.
policy_events = Table(
    "policy_events",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", _moment, nullable=False, server_default=func.clock_timestamp()),
    Column("task", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("policy_id", Text, ForeignKey("policies.id"), nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Index("policy_events_of_task", "task", "id"),
)

failures = Table(
    "failures",
    metadata,
    Column("id", BigInteger, primary_key=True, server_default=_position),
    Column("run_id", Text, nullable=False),
    Column("item_id", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="1"),
    Column("retry_s", Double),
    Column("created_at", _moment, nullable=False, server_default=_now),
    ForeignKeyConstraint(["run_id", "item_id"], ["items.run_id", "items.id"]),
    UniqueConstraint("run_id", "item_id", "task", name="failures_key"),
    Index("failures_in_order", "run_id", "id"),
)
Index("failures_to_retry", failures.c.run_id, postgresql_where=failures.c.retry_s.is_not(None))

review_tasks = Table(
    "review_tasks",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("prelabel_id", BigInteger, ForeignKey("prelabels.id"), nullable=False),
    Column("queue", Text, nullable=False),
    Column("priority", Double, nullable=False),
    Column("is_blind", Boolean, nullable=False, server_default="false"),
    Column("stream", Text, nullable=False, server_default="routed"),
    Column("state", Text, nullable=False, server_default="pending"),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("expiries", Integer, nullable=False, server_default="0"),
    Column("lease_owner", Text),
    Column("lease_until", _moment),
    Column("created_at", _moment, nullable=False, server_default=_now),
    Column("not_for", Text),
)
# The task that gives a pre-label its answer: there is one at most. Gold tasks, seeded and volunteered ones come beside
# it. In words of its own, because an index is found by them.
gives_answer = text("review_tasks.stream IN ('routed', 'random', 'sampled')")
Index(
    *("review_tasks_prelabel", review_tasks.c.prelabel_id),
    unique=True,
    postgresql_where=text("stream IN ('routed', 'random', 'sampled')"),
)
Index(
    *("review_tasks_seeded", review_tasks.c.prelabel_id),
    unique=True,
    postgresql_where=text("stream = 'seeded'"),
)
Index(
    *("review_tasks_volunteered", review_tasks.c.prelabel_id),
    unique=True,
    postgresql_where=text("stream = 'volunteered'"),
)
Index(
    *("review_tasks_recent", review_tasks.c.queue, review_tasks.c.id.desc()),
    postgresql_where=text("NOT is_blind AND stream = 'routed'"),
)
Index(
    "review_tasks_to_serve",
    review_tasks.c.queue,
    review_tasks.c.priority.desc(),
    review_tasks.c.id,
    postgresql_where=text("state IN ('pending', 'leased')"),
)
Index(
    "review_tasks_leases",
    review_tasks.c.queue,
    review_tasks.c.lease_until,
    postgresql_where=text("state = 'leased'"),
)

# Every version of what labeling platforms say; the last one of a key counts.
platform_answers = Table(
    "platform_answers",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("key", Text, nullable=False),
    Column("updated_at", _moment),
    Column("is_withdrawn", Boolean, nullable=False),
    Column("digest", Text, nullable=False),
    Column("prelabel_id", BigInteger, ForeignKey("prelabels.id")),
    Column("created_at", _moment),
    Column("reviewer", Text),
    Column("annotations", JSONB),
    Column("seconds", Double),
    Column("was_shown", Boolean),
    Column("noted_at", _moment, nullable=False, server_default=func.clock_timestamp()),
    UniqueConstraint("key", "updated_at", "is_withdrawn", "digest", name="platform_answers_version"),
    Index("platform_answers_of_prelabel", "prelabel_id"),
)

reviews = Table(
    "reviews",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("task_id", BigInteger, ForeignKey("review_tasks.id"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("reviewer", Text, nullable=False),
    Column("annotations", JSONB, nullable=False),
    Column("seconds", Double),
    Column("idempotency_key", Text),
    Column("submitted_at", _moment, nullable=False, server_default=func.clock_timestamp()),
    Column("platform_answer_id", BigInteger, ForeignKey("platform_answers.id")),
    Column("was_shown", Boolean),
    Column("void_since", _moment),
    UniqueConstraint("task_id", "attempt", name="reviews_attempt"),
    UniqueConstraint("reviewer", "idempotency_key", name="reviews_idempotency"),
)
# Of a task at most one. Whoever reads reviews wants these, but for what once was.
counts = reviews.c.void_since.is_(None)
Index(*("reviews_counting", reviews.c.task_id), unique=True, postgresql_where=text("void_since IS NULL"))

# run_id is NULL for a sample of all runs of its task.
samples = Table(
    "samples",
    metadata,
    Column("id", Text, primary_key=True),
    Column("task", Text, nullable=False),
    Column("run_id", Text, ForeignKey("runs.id")),
    Column("strategy", Text, nullable=False),
    Column("budget", Integer, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("parameters", JSONB, nullable=False),
    Column("created_at", _moment, nullable=False, server_default=_now),
)

sample_members = Table(
    "sample_members",
    metadata,
    Column("sample_id", Text, ForeignKey("samples.id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("prelabel_id", BigInteger, ForeignKey("prelabels.id"), nullable=False),
    Column("reason", Text, nullable=False),
    Column("utility", Double, nullable=False),
    Column("propensity", Double),
    Column("is_uniform", Boolean, nullable=False),
    Column("is_queued", Boolean, nullable=False),
    UniqueConstraint("sample_id", "prelabel_id", name="sample_members_once"),
    Index("sample_members_of_prelabel", "prelabel_id"),
)

# Pre-labels that were made wrong on purpose: what is shown, and what is right.
planted = Table(
    "planted",
    metadata,
    Column("task_id", BigInteger, ForeignKey("review_tasks.id"), primary_key=True, autoincrement=False),
    Column("error", Text, nullable=False),
    Column("prediction", JSONB, nullable=False),
    Column("answer", JSONB, nullable=False),
    Column("acceptable", JSONB, nullable=False),
    Column("created_at", _moment, nullable=False, server_default=_now),
)

corrections = Table(
    "corrections",
    metadata,
    Column("review_id", BigInteger, ForeignKey("reviews.id"), primary_key=True, autoincrement=False),
    Column("prelabel_id", BigInteger, ForeignKey("prelabels.id"), nullable=False),
    Column("task", Text, nullable=False),
    Column("stream", Text, nullable=False),
    Column("is_shown", Boolean, nullable=False),
    Column("is_caught", Boolean),
    Column("unchanged", Integer, nullable=False),
    Column("edited", Integer, nullable=False),
    Column("rejected", Integer, nullable=False),
    Column("added", Integer, nullable=False),
    Column("iou", Double),
    Column("span_f1", Double),
    Column("wer", Double),
    Column("errors", JSONB, nullable=False),
    Column("by_label", JSONB, nullable=False),
    Column("cost", Double, nullable=False),
    Column("seconds", Double),
    Column("created_at", _moment, nullable=False, server_default=_now),
    Index("corrections_of_prelabel", "prelabel_id"),
)

label_studio_projects = Table(
    "label_studio_projects",
    metadata,
    Column("id", Text, primary_key=True),
    Column("url", Text, nullable=False),
    Column("project_id", BigInteger, nullable=False),
    Column("task", Text, nullable=False),
    Column("token", Text, nullable=False),
    Column("secret_digest", Text, nullable=False),
    Column("is_automatic", Boolean, nullable=False, server_default="true"),
    Column("is_connected", Boolean, nullable=False, server_default="true"),
    Column("service_url", Text, nullable=False, server_default=""),
    Column("polled_until", _moment),
    Column("created_at", _moment, nullable=False, server_default=_now),
    UniqueConstraint("url", "project_id", name="label_studio_projects_once"),
)

label_studio_tasks = Table(
    "label_studio_tasks",
    metadata,
    Column("connection_id", Text, ForeignKey("label_studio_projects.id", ondelete="CASCADE"), primary_key=True),
    Column("task_id", BigInteger, primary_key=True, autoincrement=False),
    Column("version", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("task", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("item_id", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="open"),
    Column("held_until", _moment, nullable=False),
    Column("changed_at", _moment, nullable=False, server_default=_now),
    Index("label_studio_tasks_of_item", "run_id", "item_id"),
)
Index(
    *("label_studio_tasks_owed", label_studio_tasks.c.connection_id, label_studio_tasks.c.held_until),
    postgresql_where=text("state IN ('open', 'promised', 'answered', 'pushing')"),
)

label_studio_events = Table(
    "label_studio_events",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("connection_id", Text, ForeignKey("label_studio_projects.id", ondelete="CASCADE"), nullable=False),
    Column("action", Text, nullable=False),
    Column("ids", ARRAY(BigInteger), nullable=False),
    Column("received_at", _moment, nullable=False, server_default=func.clock_timestamp()),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("due_at", _moment, nullable=False, server_default=func.clock_timestamp()),
    Column("done_at", _moment),
    Column("problem", Text),
)
Index(
    *("label_studio_events_due", label_studio_events.c.connection_id, label_studio_events.c.due_at),
    postgresql_where=text("done_at IS NULL"),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", _moment, nullable=False, server_default=func.clock_timestamp()),
    Column("action", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("task_id", BigInteger, ForeignKey("review_tasks.id"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Index("audit_log_task", "task_id", "id"),
)
