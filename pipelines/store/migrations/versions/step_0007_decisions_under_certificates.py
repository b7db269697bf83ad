"""Builds the tables for calibrations, certified policies and what happened to them."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"

_STATEMENTS = """
ALTER TABLE decisions
    ADD COLUMN is_blind     boolean NOT NULL DEFAULT false,
    ADD COLUMN uniform_rate double precision
        CONSTRAINT decisions_uniform_rate CHECK (uniform_rate > 0 AND uniform_rate <= 1);
CREATE INDEX decisions_drawn ON decisions (prelabel_id) WHERE uniform_rate IS NOT NULL;
CREATE INDEX decisions_by_policy ON decisions (policy_id, prelabel_id);

-- A routed task came from its decision; the others were added later: by a random or an active-learning selection, as
-- gold whose answer is known, or with a pre-label that was made wrong on purpose.
ALTER TABLE review_tasks
    ADD COLUMN is_blind boolean NOT NULL DEFAULT false,
    ADD COLUMN stream   text NOT NULL DEFAULT 'routed'
        CONSTRAINT review_tasks_stream CHECK (stream IN ('routed', 'random', 'sampled', 'gold', 'seeded'));

CREATE TABLE calibrations (
    id         text PRIMARY KEY,
    task       text NOT NULL,
    content    jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE policies (
    id             text PRIMARY KEY,
    task           text NOT NULL,
    round          integer NOT NULL CONSTRAINT policies_from_one CHECK (round >= 1),
    calibration_id text REFERENCES calibrations (id),
    content        jsonb NOT NULL,
    evidence       jsonb NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT policies_round UNIQUE (task, round)
);

CREATE TABLE policy_events (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    task      text NOT NULL,
    action    text NOT NULL
              CONSTRAINT policy_events_action CHECK (action IN ('activated', 'suspended', 'retired')),
    policy_id text NOT NULL REFERENCES policies (id),
    reason    text NOT NULL,
    actor     text NOT NULL
);
CREATE INDEX policy_events_of_task ON policy_events (task, id);

CREATE TRIGGER written_once BEFORE UPDATE OR DELETE ON calibrations FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER written_once BEFORE UPDATE OR DELETE ON policies FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER written_once BEFORE UPDATE OR DELETE ON policy_events FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
