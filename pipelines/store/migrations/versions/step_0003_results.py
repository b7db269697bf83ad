"""Keeps a model's results, to be reused for the same content under the same model and configuration."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

_STATEMENTS = """
CREATE TABLE results (
    question   text PRIMARY KEY,
    prediction bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX results_by_age ON results (created_at);
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)


def downgrade() -> None:
    op.execute("DROP TABLE results")
