"""Builds the tables for what reviewers changed, and for pre-labels that were made wrong on purpose."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"

_STATEMENTS = """
-- not_for names the reviewer who must not get the task.
ALTER TABLE review_tasks ADD COLUMN not_for text;

-- One task gives a pre-label its answer. Gold tasks and those with a wrong pre-label come beside it.
ALTER TABLE review_tasks DROP CONSTRAINT review_tasks_prelabel;
CREATE UNIQUE INDEX review_tasks_prelabel ON review_tasks (prelabel_id)
    WHERE stream IN ('routed', 'random', 'sampled');
CREATE UNIQUE INDEX review_tasks_seeded ON review_tasks (prelabel_id) WHERE stream = 'seeded';

-- Blind tasks are spread over the last ones that are not.
CREATE INDEX review_tasks_recent ON review_tasks (queue, id DESC) WHERE NOT is_blind AND stream = 'routed';

CREATE TABLE planted (
    task_id    bigint PRIMARY KEY REFERENCES review_tasks (id),
    error      text NOT NULL,
    prediction jsonb NOT NULL,
    answer     jsonb NOT NULL,
    acceptable jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE corrections (
    review_id   bigint PRIMARY KEY REFERENCES reviews (id),
    prelabel_id bigint NOT NULL REFERENCES prelabels (id),
    task        text NOT NULL,
    stream      text NOT NULL,
    is_shown    boolean NOT NULL,
    is_caught   boolean,
    unchanged   integer NOT NULL,
    edited      integer NOT NULL,
    rejected    integer NOT NULL,
    added       integer NOT NULL,
    iou         double precision CONSTRAINT corrections_iou CHECK (iou BETWEEN 0 AND 1),
    span_f1     double precision CONSTRAINT corrections_span_f1 CHECK (span_f1 BETWEEN 0 AND 1),
    wer         double precision CONSTRAINT corrections_wer CHECK (wer >= 0),
    errors      jsonb NOT NULL,
    by_label    jsonb NOT NULL,
    cost        double precision NOT NULL,
    seconds     double precision,
    created_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT corrections_caught CHECK ((stream = 'seeded') = (is_caught IS NOT NULL))
);
CREATE INDEX corrections_of_prelabel ON corrections (prelabel_id);

CREATE TRIGGER written_once BEFORE UPDATE OR DELETE ON planted FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER written_once BEFORE UPDATE OR DELETE ON corrections FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
