"""Holds what Label Studio tells of its projects, tasks and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project; ``model_version`` names whose predictions annotators see: a version, or the title of a backend."""

    id: int
    title: str
    label_config: str
    created_at: datetime
    model_version: str
    show_predictions: bool
    evaluates_automatically: bool
    tasks: int

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        return cls(
            id=int(data["id"]),
            title=str(data["title"]),
            label_config=str(data["label_config"]),
            created_at=_moment(data["created_at"]),
            model_version=str(data.get("model_version") or ""),
            show_predictions=bool(data.get("show_collab_predictions")),
            evaluates_automatically=bool(data.get("evaluate_predictions_automatically")),
            tasks=int(data.get("task_number") or 0),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """What a person has submitted for a task, or skipped (``was_cancelled``).

    ``result`` is Label Studio's own list of regions. ``parent_prediction`` is the id of the prediction it began with,
    None where the person began with nothing or the prediction is gone.
    """

    id: int
    task: int
    result: Sequence[Mapping[str, Any]] = field(repr=False)
    completed_by: int | None
    was_cancelled: bool
    is_ground_truth: bool
    created_at: datetime
    updated_at: datetime
    lead_time_s: float | None
    parent_prediction: int | None
    parent_annotation: int | None

    @classmethod
    def of(cls, data: Mapping[str, Any], *, task: int | None = None) -> Self:
        lead_time = data.get("lead_time")
        return cls(
            id=int(data["id"]),
            task=int(data["task"]) if task is None else task,
            result=tuple(data.get("result") or ()),
            completed_by=_identity(data.get("completed_by")),
            was_cancelled=bool(data.get("was_cancelled")),
            is_ground_truth=bool(data.get("ground_truth")),
            created_at=_moment(data["created_at"]),
            updated_at=_moment(data["updated_at"]),
            lead_time_s=None if lead_time is None else float(lead_time),
            parent_prediction=_identity(data.get("parent_prediction")),
            parent_annotation=_identity(data.get("parent_annotation")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task; ``annotations`` is None where they were not asked for.

    ``updated_at`` moves when the task's data is changed and when an annotation of it is made, changed, skipped or
    deleted; not when predictions come or go, nor drafts.
    """

    id: int
    project: int
    data: Mapping[str, Any] = field(repr=False)
    updated_at: datetime
    total_predictions: int
    total_annotations: int
    cancelled_annotations: int
    annotations: tuple[Annotation, ...] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, data: Mapping[str, Any], *, project: int, with_annotations: bool) -> Self:
        identity = int(data["id"])
        annotations = None
        if with_annotations:
            annotations = tuple(Annotation.of(row, task=identity) for row in data["annotations"])
        return cls(
            id=identity,
            project=project,
            data=data["data"],
            updated_at=_moment(data["updated_at"]),
            total_predictions=int(data.get("total_predictions") or 0),
            total_annotations=int(data.get("total_annotations") or 0),
            cancelled_annotations=int(data.get("cancelled_annotations") or 0),
            annotations=annotations,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A stored prediction."""

    id: int
    task: int
    model_version: str
    score: float | None
    result: Sequence[Mapping[str, Any]] = field(repr=False)
    created_at: datetime

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        score = data.get("score")
        return cls(
            id=int(data["id"]),
            task=int(data["task"]),
            model_version=str(data.get("model_version") or ""),
            score=None if score is None else float(score),
            result=tuple(data.get("result") or ()),
            created_at=_moment(data["created_at"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A model as a project has it: its URL (which may hold a secret), and what Label Studio last made of it."""

    id: int
    project: int
    url: str = field(repr=False)
    title: str
    is_connected: bool
    error: str | None
    model_version: str
    is_interactive: bool
    basic_auth_user: str | None
    timeout_s: float

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        has_basic = data.get("auth_method") == "BASIC_AUTH"
        return cls(
            id=int(data["id"]),
            project=int(data["project"]),
            url=str(data["url"]),
            title=str(data.get("title") or ""),
            is_connected=data.get("state") == "CO",
            error=data.get("error_message") or None,
            model_version=str(data.get("model_version") or ""),
            is_interactive=bool(data.get("is_interactive")),
            basic_auth_user=str(data.get("basic_auth_user") or "") if has_basic else None,
            timeout_s=float(data.get("timeout") or 0.0),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Where Label Studio sends what happens; ``project`` is None for one of the whole organization.

    ``url`` may hold a secret. ``header_names`` are only the names of the headers that it sends: their values may be
    secrets.
    """

    id: int
    project: int | None
    url: str = field(repr=False)
    is_active: bool
    sends_payload: bool
    sends_all: bool
    actions: frozenset[str]
    header_names: frozenset[str]

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        return cls(
            id=int(data["id"]),
            project=_identity(data.get("project")),
            url=str(data["url"]),
            is_active=bool(data.get("is_active")),
            sends_payload=bool(data.get("send_payload")),
            sends_all=bool(data.get("send_for_all_actions")),
            actions=frozenset(data.get("actions") or ()),
            header_names=frozenset(data.get("headers") or ()),
        )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _identity(value: Any) -> int | None:
    """An id, whether Label Studio gives it alone or with all that it names."""
    if isinstance(value, Mapping):
        value = value.get("id")
    return None if value is None else int(value)
