"""Builds the tables for embeddings of items, and for samples of items that humans shall label."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"

_STATEMENTS = """
-- float16, little-endian. model is name@version:digest, with 12 digits of the weights' digest.
CREATE TABLE embeddings (
    prelabel_id bigint PRIMARY KEY REFERENCES prelabels (id),
    model       text NOT NULL,
    dimension   integer NOT NULL CONSTRAINT embeddings_dimension CHECK (dimension >= 1),
    data        bytea NOT NULL,
    CONSTRAINT embeddings_size CHECK (octet_length(data) = 2 * dimension)
);

ALTER TABLE results
    ADD COLUMN embedding       bytea,
    ADD COLUMN embedding_model text,
    ADD CONSTRAINT results_embedding CHECK ((embedding IS NULL) = (embedding_model IS NULL));

-- run_id is NULL for a sample of all runs of its task.
CREATE TABLE samples (
    id         text PRIMARY KEY,
    task       text NOT NULL,
    run_id     text REFERENCES runs (id),
    strategy   text NOT NULL,
    budget     integer NOT NULL CONSTRAINT samples_budget CHECK (budget >= 0),
    seed       bigint NOT NULL,
    parameters jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- is_queued says whether the sample has queued the review; else there was one already.
CREATE TABLE sample_members (
    sample_id   text NOT NULL REFERENCES samples (id),
    position    integer NOT NULL,
    prelabel_id bigint NOT NULL REFERENCES prelabels (id),
    reason      text NOT NULL,
    utility     double precision NOT NULL,
    propensity  double precision
                CONSTRAINT sample_members_propensity CHECK (propensity > 0 AND propensity <= 1),
    is_uniform  boolean NOT NULL,
    is_queued   boolean NOT NULL,
    PRIMARY KEY (sample_id, position),
    CONSTRAINT sample_members_once UNIQUE (sample_id, prelabel_id),
    CONSTRAINT sample_members_uniform CHECK (is_uniform = (propensity IS NOT NULL))
);
CREATE INDEX sample_members_of_prelabel ON sample_members (prelabel_id);

CREATE TRIGGER written_once BEFORE UPDATE OR DELETE ON embeddings FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER written_once BEFORE UPDATE OR DELETE ON samples FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER written_once BEFORE UPDATE OR DELETE ON sample_members FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
