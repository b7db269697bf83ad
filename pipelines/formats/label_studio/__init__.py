"""Tasks with predictions for Label Studio, and the labelling interface that fits them."""

from __future__ import annotations

from pipelines.formats.label_studio.tasks import TASKS, write

__all__ = ["TASKS", "write"]
