"""Reads what Label Studio sends, leniently: what is wrong with one task costs that task alone."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field

from models.errors import ItemError
from models.types import Prompts, Task
from pipelines.errors import NotFoundError
from pipelines.formats.label_studio.binding import Binding, bind, choose_task
from pipelines.formats.label_studio.interface import read_interface
from pipelines.formats.label_studio.prediction import prediction
from pipelines.formats.label_studio.task import item
from pipelines.store.label_studio.deliveries import Wanted, item_id
from pipelines.types import Labelled
from serving.settings import Settings

AUTO = "auto"

Slot = dict[str, Any] | list[Any]
Given = Callable[[Task], tuple[str, ...]]  # the labels that pre-labels for a task may have; none where nobody knows
FAILED: Slot = []  # a slot without "result": Label Studio keeps the others, and asks for this task again


class SetupBody(BaseModel):
    """What ``/setup`` is sent; its access token is not used, that of the connection is."""

    project: str | int | None = None
    label_config: str = Field(default="", alias="schema")
    hostname: str | None = None

    model_config = ConfigDict(extra="ignore", frozen=True)


class PredictBody(BaseModel):
    """What ``/predict`` is sent."""

    tasks: list[Any] = Field(default_factory=list)
    label_config: str | None = None
    params: dict[str, Any] | None = None

    model_config = ConfigDict(extra="ignore", frozen=True)

    @property
    def context(self) -> Mapping[str, Any] | None:
        """What a person has just drawn, if they ask for what fits it."""
        context = (self.params or {}).get("context")
        return context if isinstance(context, dict) and context.get("result") else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A labeling config, bound to one of our tasks; ``prompts`` ask for what of the models' labels it offers."""

    task: Task
    binding: Binding
    prompts: Prompts


def bound(
    settings: Settings, asked: str, label_config: str, *, given: Given | None = None, is_interactive: bool = False
) -> Bound:
    """The task that a path asks for, bound to a labeling config; for somebody who points at an object, segmentation.

    Args:
        given: which labels the models give (labels.py). Without it that is not looked at, as it need not be to read, or
            to write what was asked for before.

    Raises:
        NotFoundError: no such task is deployed (unknown_task).
        ConfigError: the labeling config cannot be read (bad_label_config).
        UnservableError: it cannot be served; the message says what is missing.
    """
    tasks = deployed(settings, asked)
    if is_interactive and tasks == ("detection",) and "segmentation" in settings.tasks:
        tasks = ("detection", "segmentation")
    labels = () if given is None or is_interactive else tuple((task, given(task)) for task in tasks)
    return _bound(label_config, tasks, labels, is_interactive=is_interactive)


def deployed(settings: Settings, asked: str) -> tuple[Task, ...]:
    """The tasks that a path stands for.

    Raises:
        NotFoundError: no such task is deployed (unknown_task).
    """
    tasks: tuple[Task, ...] = tuple(task for task in settings.tasks if asked in (task, AUTO))
    if not tasks:
        choices = ", ".join((AUTO, *settings.tasks))
        raise NotFoundError("unknown_task", f"task '{asked[:50]}' is not deployed here; choose one of: {choices}")
    return tasks


@lru_cache(maxsize=256)  # the same few projects ask again and again, and twice before every /predict
def _bound(
    label_config: str,
    tasks: tuple[Task, ...],
    labels: tuple[tuple[Task, tuple[str, ...]], ...],
    *,
    is_interactive: bool,
) -> Bound:
    interface = read_interface(label_config)
    task = tasks[0] if len(tasks) == 1 else choose_task(interface, tasks, is_interactive=is_interactive)
    binding = bind(interface, task, labels=dict(labels).get(task, ()))
    return Bound(task=task, binding=binding, prompts=_offered(binding))


def _offered(binding: Binding) -> Prompts:
    """The labels to ask for where the models can give others, too; spans of speech have words, which none offers.

    What no human can see must neither be theirs to judge, nor count as taken away by them, nor make an item unsure.
    """
    missing = set(binding.missing_labels) if binding.task != "speech" else set[str]()
    return Prompts(labels=tuple(label for label in binding.labels if label not in missing)) if missing else Prompts()


def prediction_of(
    found: Bound, labelled: Labelled, *, version: str, left_out: Counter[str] | None = None
) -> dict[str, Any]:
    """What Label Studio is told of an outcome; the same by whichever way it gets there."""
    return prediction(found.binding, labelled, model_version=version, text=labelled.item.text, left_out=left_out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A task of which nothing can be labelled, and why."""

    reason: str


def wanted(given: Any, found: Bound, *, server_url: str | None) -> Wanted | Refused:
    """The item of one entry of ``tasks``, named by the task's id and the digest of what is labelled of it."""
    if not isinstance(given, dict):
        return Refused(reason=f"wanted a task; got {type(given).__name__}")
    task_id = given.get("id")
    if isinstance(task_id, bool) or not isinstance(task_id, int) or not 0 <= task_id < 2**63:
        task_id = 0  # Label Studio's begin with 1; what has none is answered, and known to nobody afterwards
    try:
        shown = item(found.binding, given, server_url=server_url, item_id="")
    except ItemError as err:
        return Refused(reason=err.message)
    named = [shown.uri, shown.text, *found.prompts.labels]
    digest = hashlib.sha256(orjson.dumps(named)).hexdigest()[:32]
    own = replace(shown, id=item_id(task_id, digest), prompts=found.prompts)
    return Wanted(task_id=task_id, digest=digest, item=own)


def filled(found: Sequence[Wanted | Refused], ready: Mapping[tuple[int, str], Slot]) -> list[Slot]:
    """A slot for each task, in order."""
    return [FAILED if isinstance(one, Refused) else ready.get(one.key, FAILED) for one in found]
