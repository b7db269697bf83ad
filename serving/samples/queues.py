"""Says where the reviews of each task go, unless somebody names another queue."""

from __future__ import annotations

from models.types import Task
from serving.settings import Settings


def queues_of(settings: Settings) -> dict[Task, str]:
    """The queue of each configured task's policy."""
    return {task: policy.queue for task, policy in settings.policies.items()}
