"""Names what the routes for runs over drops take."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from models.types import Task
from serving.body import Body


class RunBody(Body):
    """A drop to label.

    ``drop`` is what the service itself can open: a path or a pattern of paths within its ``fetch.roots``, or an address
    within its ``fetch.allowed_buckets``. ``kind`` says what the drop is where its name does not: folder, glob,
    manifest, bucket, web_dataset, label_studio, coco. ``run`` makes the call repeatable: the same id with the same body
    begins nothing anew.
    """

    drop: str = Field(min_length=1, max_length=4_096)
    task: Task
    kind: str | None = Field(default=None, max_length=32)
    run: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"drop": "/data/incoming", "task": "detection"},
                {"drop": "s3://drops/2026-11/manifest.jsonl", "task": "ner", "run": "november"},
            ]
        }
    )


class RedriveBody(Body):
    """The codes of the failures that are tried again; none lets the run go on with what is pending."""

    codes: list[str] = Field(max_length=100)

    model_config = ConfigDict(json_schema_extra={"examples": [{"codes": ["timeout", "fetch_failed"]}]})
