"""Builds the table for answers that labeling platforms give, and lets an answer cease to count."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"

_STATEMENTS = """
-- Every version of every answer, by the platform's clock; the last one of a key says how things stand. One without
-- annotations withdraws the answer, one without a moment for good. Of what was withdrawn before it came the pre-label
-- is not known.
CREATE TABLE platform_answers (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key          text NOT NULL,
    updated_at   timestamptz,
    is_withdrawn boolean NOT NULL,
    digest       text NOT NULL,
    prelabel_id  bigint REFERENCES prelabels (id),
    created_at   timestamptz,
    reviewer     text,
    annotations  jsonb,
    seconds      double precision,
    was_shown    boolean,
    noted_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT platform_answers_version UNIQUE (key, updated_at, is_withdrawn, digest),
    CONSTRAINT platform_answers_whole CHECK (
        is_withdrawn OR (updated_at IS NOT NULL AND prelabel_id IS NOT NULL AND created_at IS NOT NULL
            AND reviewer IS NOT NULL AND annotations IS NOT NULL AND was_shown IS NOT NULL)
    )
);
CREATE INDEX platform_answers_of_prelabel ON platform_answers (prelabel_id);
CREATE TRIGGER written_once BEFORE UPDATE OR DELETE ON platform_answers FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- A volunteered task is one that nobody has queued: a platform has answered without being asked. It is never served.
ALTER TABLE review_tasks
    DROP CONSTRAINT review_tasks_stream,
    ADD CONSTRAINT review_tasks_stream
        CHECK (stream IN ('routed', 'random', 'sampled', 'gold', 'seeded', 'volunteered')),
    DROP CONSTRAINT review_tasks_state,
    ADD CONSTRAINT review_tasks_state CHECK (state IN ('pending', 'leased', 'done', 'dead', 'withdrawn')),
    ADD CONSTRAINT review_tasks_volunteered CHECK (
        CASE WHEN stream = 'volunteered' THEN state IN ('done', 'withdrawn') ELSE state <> 'withdrawn' END
    );
CREATE UNIQUE INDEX review_tasks_volunteered ON review_tasks (prelabel_id) WHERE stream = 'volunteered';

-- A review counts until it is void: replaced by a newer one, or withdrawn. One of a task counts at most.
-- was_shown is what a platform says; without it the task says whether its reviewer saw the pre-label.
ALTER TABLE reviews
    ADD COLUMN platform_answer_id bigint REFERENCES platform_answers (id),
    ADD COLUMN was_shown          boolean,
    ADD COLUMN void_since         timestamptz,
    ADD CONSTRAINT reviews_of_a_platform CHECK ((platform_answer_id IS NULL) = (was_shown IS NULL)),
    ADD CONSTRAINT reviews_void CHECK (void_since IS NULL OR platform_answer_id IS NOT NULL);
CREATE UNIQUE INDEX reviews_counting ON reviews (task_id) WHERE void_since IS NULL;

CREATE FUNCTION refuse_change_but_void() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.void_since IS NULL AND NEW.void_since IS NOT NULL
        AND to_jsonb(NEW) - 'void_since' = to_jsonb(OLD) - 'void_since' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'rows of % are written once and never changed', TG_TABLE_NAME;
END
$$;
DROP TRIGGER written_once ON reviews;
CREATE TRIGGER written_once BEFORE UPDATE OR DELETE ON reviews
    FOR EACH ROW EXECUTE FUNCTION refuse_change_but_void();

ALTER TABLE audit_log
    DROP CONSTRAINT audit_log_action,
    ADD CONSTRAINT audit_log_action
        CHECK (action IN ('served', 'released', 'submitted', 'buried', 'replaced', 'withdrawn'));
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
