"""Names what labels a task's items, so that another name means other labels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from models.types import Task
from pipelines.prelabel import Flow, Models
from serving.drops.fingerprint import fingerprint
from serving.settings import Settings

_DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What labels a task's items now: the name that Label Studio is told, and what it stands for.

    ``labels_with`` is None where a run need not be held to it.
    """

    name: str
    labels_with: Mapping[str, str] | None = None


def current_version(settings: Settings, models: Models, flow: Flow, task: Task) -> Version:
    """What labels a task's items now.

    Raises:
        ModelError: a model has never run here (model_stopped).
    """
    labels_with = fingerprint(settings, models, task, policy_id=flow.policies[task].id)
    return Version(name=version_of(task, labels_with), labels_with=labels_with)


def model_version(settings: Settings, models: Models, flow: Flow, task: Task) -> str:
    """The version that Label Studio is told, at ``/setup`` and in every prediction alike.

    It changes with a model's weights or configuration, the calibration, the policy, the sanity rules and the ontology.

    Raises:
        ModelError: a model has never run here (model_stopped).
    """
    return current_version(settings, models, flow, task).name


def version_of(task: Task, labels_with: Mapping[str, str]) -> str:
    """The version of what a run is labelled with (serving/drops/fingerprint.py)."""
    digest = hashlib.sha256(json.dumps(dict(labels_with), sort_keys=True).encode()).hexdigest()
    return f"prelabel-{task}-{digest[:_DIGITS]}"
