"""Builds the tables for the projects of Label Studio that are connected, and for what is owed to them."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"

_STATEMENTS = """
-- token is needed as it is, to call Label Studio; of the secret in the backend's address only the sha256 is kept.
CREATE TABLE label_studio_projects (
    id            text PRIMARY KEY,
    url           text NOT NULL,
    project_id    bigint NOT NULL,
    task          text NOT NULL,
    token         text NOT NULL,
    secret_digest text NOT NULL,
    is_automatic  boolean NOT NULL DEFAULT true,
    is_connected  boolean NOT NULL DEFAULT true,
    service_url   text NOT NULL DEFAULT '',
    polled_until  timestamptz,
    created_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT label_studio_projects_once UNIQUE (url, project_id)
);

-- Where the prediction for a task is that was asked for: open (it is being made), promised (it stands in an answer that
-- is on its way), answered (that answer was sent), pushing, delivered, or failed. A row is left alone until held_until.
CREATE TABLE label_studio_tasks (
    connection_id text NOT NULL REFERENCES label_studio_projects (id) ON DELETE CASCADE,
    task_id       bigint NOT NULL,
    version       text NOT NULL,
    digest        text NOT NULL,
    task          text NOT NULL,
    run_id        text NOT NULL,
    item_id       text NOT NULL,
    state         text NOT NULL DEFAULT 'open' CONSTRAINT label_studio_tasks_state
                  CHECK (state IN ('open', 'promised', 'answered', 'pushing', 'delivered', 'failed')),
    held_until    timestamptz NOT NULL,
    changed_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (connection_id, task_id, version, digest)
);
CREATE INDEX label_studio_tasks_owed ON label_studio_tasks (connection_id, held_until)
    WHERE state IN ('open', 'promised', 'answered', 'pushing');
CREATE INDEX label_studio_tasks_of_item ON label_studio_tasks (run_id, item_id);

-- What a webhook hinted at, until it has been looked up.
CREATE TABLE label_studio_events (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    connection_id text NOT NULL REFERENCES label_studio_projects (id) ON DELETE CASCADE,
    action        text NOT NULL,
    ids           bigint[] NOT NULL,
    received_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts      integer NOT NULL DEFAULT 0,
    due_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    done_at       timestamptz,
    problem       text
);
CREATE INDEX label_studio_events_due ON label_studio_events (connection_id, due_at) WHERE done_at IS NULL;
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
