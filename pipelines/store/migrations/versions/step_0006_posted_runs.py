"""Lets runs wait for a service to take them, tell how far they are, and say why they have failed."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"

_STATEMENTS = """
-- progress is what the worker told last; what is true is counted in the other tables.
ALTER TABLE runs
    ADD COLUMN is_posted boolean NOT NULL DEFAULT false,
    ADD COLUMN progress jsonb,
    ADD COLUMN reason text;

-- Every call to /v1/prelabel is a run, too: the few over drops are found without looking at those.
CREATE INDEX runs_over_drops ON runs (created_at DESC, id) WHERE task IS NOT NULL;
CREATE INDEX runs_to_work_on ON runs (created_at, id) WHERE is_posted AND status IN ('queued', 'running');
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
