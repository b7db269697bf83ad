"""Lets a run hold the listing of a drop, who works on it, and which failures are tried again."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

_STATEMENTS = """
ALTER TABLE runs
    ADD COLUMN task text,
    ADD COLUMN source jsonb,
    ADD COLUMN fingerprint jsonb,
    ADD COLUMN is_listed boolean NOT NULL DEFAULT false,
    ADD COLUMN is_stopping boolean NOT NULL DEFAULT false,
    ADD COLUMN attempt integer NOT NULL DEFAULT 0,
    ADD COLUMN worker text,
    DROP CONSTRAINT runs_status,
    ADD CONSTRAINT runs_status CHECK (status IN ('queued', 'running', 'done', 'stopped', 'failed', 'cancelled'));

-- The place of an item in the listing of its drop, and the attempt that listed it last; none of what came by HTTP.
ALTER TABLE items ADD COLUMN position bigint, ADD COLUMN listed_in integer;
CREATE INDEX items_in_listing ON items (run_id, position, id) WHERE position IS NOT NULL;

-- A failure is tried again retry_s seconds after created_at; never where it is NULL.
ALTER TABLE failures
    ADD COLUMN attempts integer NOT NULL DEFAULT 1,
    ADD COLUMN retry_s double precision;
CREATE INDEX failures_to_retry ON failures (run_id) WHERE retry_s IS NOT NULL;

-- Finds what the run has said of the same content already.
CREATE INDEX prelabels_by_content ON prelabels (run_id, (provenance ->> 'item_digest'));
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
