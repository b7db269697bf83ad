"""Says which labels the models give, as far as that is known."""

from __future__ import annotations

from models.errors import ModelError
from models.types import Task
from pipelines.prelabel import Models
from serving.client import AsyncClient
from serving.settings import Settings


def given_labels(settings: Settings, models: Models, task: Task) -> tuple[str, ...]:
    """The labels that pre-labels for a task may have; none where nobody knows."""
    if settings.ontology is not None:
        return _classes(settings)
    try:
        return models.use_of(settings.tasks[task][0]).labels  # those after it say more about what it has found
    except ModelError:  # it has never run here
        return ()


async def told_labels(settings: Settings, client: AsyncClient) -> dict[Task, tuple[str, ...]]:
    """The same, task by task, from a service that runs.

    Raises:
        PrelabelError: it does not answer, or does not admit us.
    """
    if settings.ontology is not None:
        return dict.fromkeys(settings.tasks, _classes(settings))
    by_model = {model.name: model.labels for model in await client.models()}
    return {task: by_model.get(chain[0], ()) for task, chain in settings.tasks.items()}


def _classes(settings: Settings) -> tuple[str, ...]:
    return () if settings.ontology is None else tuple(one.name for one in settings.ontology.classes)
