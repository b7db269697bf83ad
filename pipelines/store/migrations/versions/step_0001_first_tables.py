"""Builds the tables for runs, outcomes and reviews."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None

_STATEMENTS = """
CREATE TABLE runs (
    id          text PRIMARY KEY,
    name        text NOT NULL,
    status      text NOT NULL DEFAULT 'running'
                CONSTRAINT runs_status CHECK (status IN ('running', 'done', 'failed', 'cancelled')),
    created_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);

CREATE TABLE items (
    run_id  text NOT NULL REFERENCES runs (id),
    id      text NOT NULL,
    media   text NOT NULL,
    uri     text,
    text    text,
    meta    jsonb NOT NULL,
    prompts jsonb NOT NULL,
    digest  text,
    PRIMARY KEY (run_id, id)
);

CREATE SEQUENCE outcome_position AS bigint;

CREATE TABLE prelabels (
    id          bigint PRIMARY KEY DEFAULT nextval('outcome_position'),
    run_id      text NOT NULL,
    item_id     text NOT NULL,
    task        text NOT NULL,
    status      text NOT NULL CONSTRAINT prelabels_status CHECK (status IN ('labels', 'nothing_found')),
    prediction  jsonb NOT NULL,
    confidence  double precision CONSTRAINT prelabels_confidence CHECK (confidence BETWEEN 0 AND 1),
    calibrated  boolean NOT NULL,
    uncertainty jsonb NOT NULL,
    provenance  jsonb NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (run_id, item_id) REFERENCES items (run_id, id),
    CONSTRAINT prelabels_key UNIQUE (run_id, item_id, task)
);
CREATE INDEX prelabels_in_order ON prelabels (run_id, id);

CREATE TABLE decisions (
    prelabel_id bigint PRIMARY KEY REFERENCES prelabels (id),
    route       text NOT NULL
                CONSTRAINT decisions_route CHECK (route IN ('accept', 'audit', 'review', 'scratch')),
    queue       text,
    reason      text NOT NULL,
    policy_id   text NOT NULL,
    threshold   double precision,
    propensity  double precision NOT NULL CONSTRAINT decisions_propensity CHECK (propensity BETWEEN 0 AND 1),
    draw        double precision
);

CREATE TABLE failures (
    id         bigint PRIMARY KEY DEFAULT nextval('outcome_position'),
    run_id     text NOT NULL,
    item_id    text NOT NULL,
    task       text NOT NULL,
    code       text NOT NULL,
    message    text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (run_id, item_id) REFERENCES items (run_id, id),
    CONSTRAINT failures_key UNIQUE (run_id, item_id, task)
);
CREATE INDEX failures_in_order ON failures (run_id, id);

CREATE TABLE review_tasks (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    prelabel_id bigint NOT NULL REFERENCES prelabels (id) CONSTRAINT review_tasks_prelabel UNIQUE,
    queue       text NOT NULL,
    priority    double precision NOT NULL CONSTRAINT review_tasks_priority CHECK (priority BETWEEN 0 AND 1),
    state       text NOT NULL DEFAULT 'pending'
                CONSTRAINT review_tasks_state CHECK (state IN ('pending', 'leased', 'done', 'dead')),
    attempt     integer NOT NULL DEFAULT 0,
    expiries    integer NOT NULL DEFAULT 0,
    lease_owner text,
    lease_until timestamptz,
    created_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT review_tasks_lease CHECK (
        (state = 'leased') = (lease_owner IS NOT NULL) AND (lease_owner IS NULL) = (lease_until IS NULL)
    )
);
CREATE INDEX review_tasks_to_serve ON review_tasks (queue, priority DESC, id) WHERE state IN ('pending', 'leased');
CREATE INDEX review_tasks_leases ON review_tasks (queue, lease_until) WHERE state = 'leased';

CREATE TABLE reviews (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id         bigint NOT NULL REFERENCES review_tasks (id),
    attempt         integer NOT NULL,
    reviewer        text NOT NULL,
    annotations     jsonb NOT NULL,
    seconds         double precision,
    idempotency_key text,
    submitted_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT reviews_attempt UNIQUE (task_id, attempt),
    CONSTRAINT reviews_idempotency UNIQUE (reviewer, idempotency_key)
);

CREATE TABLE audit_log (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    action  text NOT NULL
            CONSTRAINT audit_log_action CHECK (action IN ('served', 'released', 'submitted', 'buried')),
    actor   text NOT NULL,
    task_id bigint NOT NULL REFERENCES review_tasks (id),
    attempt integer NOT NULL
);
CREATE INDEX audit_log_task ON audit_log (task_id, id);

-- What a model said and what a human answered is written once.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are written once and never changed', TG_TABLE_NAME;
END
$$;
CREATE TRIGGER written_once BEFORE UPDATE ON prelabels FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER written_once BEFORE UPDATE ON decisions FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER written_once BEFORE UPDATE OR DELETE ON reviews FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER written_once BEFORE UPDATE OR DELETE ON audit_log FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
