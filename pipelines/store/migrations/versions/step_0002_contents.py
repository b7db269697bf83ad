"""Keeps the bytes of items that came without a reference and wait for a human."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

_STATEMENTS = """
CREATE TABLE contents (
    digest     text PRIMARY KEY,
    data       bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE contents ALTER COLUMN data SET STORAGE EXTERNAL;  -- images and recordings are compressed already
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)


def downgrade() -> None:
    op.execute("DROP TABLE contents")
