"""Lets a pre-label hold what the rules found in it, and the labels that its ontology has no class for."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"

_STATEMENTS = """
ALTER TABLE prelabels
    ADD COLUMN findings jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN more_findings jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN unmapped jsonb NOT NULL DEFAULT '{}';
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
