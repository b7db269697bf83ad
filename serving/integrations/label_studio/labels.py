"""Compares the labels that the models give with those that a project offers."""

from __future__ import annotations

from dataclasses import replace

from models.errors import ModelError
from models.types import Task
from pipelines.formats.label_studio.binding import bind
from pipelines.formats.label_studio.interface import read_interface
from pipelines.prelabel import Models
from serving.integrations.label_studio.call import Bound
from serving.settings import Settings


def given_labels(settings: Settings, models: Models, task: Task) -> tuple[str, ...]:
    """The labels that pre-labels for a task may have; none where nobody knows."""
    if settings.ontology is not None:
        return tuple(one.name for one in settings.ontology.classes)
    try:
        return models.use_of(settings.tasks[task][0]).labels  # those after it say more about what it has found
    except ModelError:  # it has never run here
        return ()


def check_offered(found: Bound, label_config: str, given: tuple[str, ...]) -> None:
    """Make sure that a project offers at least one of the labels.

    Raises:
        UnservableError: it offers none, so that every prediction would be empty.
    """
    bind(read_interface(label_config), found.task, labels=given)


def missing_labels(found: Bound, given: tuple[str, ...]) -> tuple[str, ...]:
    """Of the labels that are given those that a project does not offer: what bears them is not shown there."""
    return replace(found.binding, labels=given).missing_labels
