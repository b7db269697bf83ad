"""Writes tasks of texts that all differ, and what Label Studio sends when it wants predictions for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import quoteattr

import orjson

from benchmarks import texts
from models.demo.sentences import LABELS

_DIFFERENT = 400
_MOMENT = "2026-11-30T09:00:00.000000Z"


def label_config() -> str:
    """A labeling config that offers every label of the demo's NER model."""
    labels = "".join(f"<Label value={quoteattr(label)}/>" for label in LABELS)
    return f'<View><Labels name="label" toName="text">{labels}</Labels><Text name="text" value="$text"/></View>'


def different_texts(n: int, *, name: str) -> list[str]:
    """n texts of the demo's held-out sentences, each with a name and a number; equal ones would be computed once.

    Args:
        name: of those who ask; texts of two names differ, too.
    """
    sentences = texts.sentences(min(n, _DIFFERENT))
    return [f"{sentences[number % len(sentences)]} Note {name}-{number}." for number in range(n)]


def predict_body(given: Mapping[int, str], *, project: str) -> bytes:
    """The body of Label Studio 1.23's ``POST /predict``, as it was recorded, for tasks by their ids.

    Args:
        given: the text of each task, by its id.
        project: as Label Studio names it there: ``{id}.{seconds since 1970 of its creation}``.
    """
    project_id = int(project.split(".")[0])
    tasks = [_task(task_id, text, number, project_id) for number, (task_id, text) in enumerate(given.items(), 1)]
    params = {"login": None, "password": None, "context": None}
    return orjson.dumps({"tasks": tasks, "project": project, "label_config": label_config(), "params": params})


def bodies(n: int, *, tasks: int, name: str) -> Iterator[bytes]:
    """n such bodies with so many tasks each, none of which is in two of them."""
    given = different_texts(n * tasks, name=name)
    for start in range(0, n * tasks, tasks):
        part = given[start : start + tasks]
        yield predict_body(dict(enumerate(part, start + 1)), project="1.1795293816")


def setup_body(*, project: str, hostname: str) -> bytes:
    """The body of Label Studio 1.23's ``POST /setup``, as it was recorded; its token is a made-up one."""
    content = {"project": project, "schema": label_config(), "hostname": hostname, "access_token": "0" * 40}
    return orjson.dumps(content | {"extra_params": None})


def filled_slots(answer: bytes) -> tuple[int, int]:
    """How many slots of an answer to ``/predict`` hold a prediction, and how many it has."""
    slots: Sequence[Any] = orjson.loads(answer)["results"]
    return sum(1 for slot in slots if isinstance(slot, dict) and "result" in slot), len(slots)


def _task(task_id: int, text: str, number: int, project_id: int) -> dict[str, Any]:
    return {
        "id": task_id,
        "data": {"text": text},
        "meta": {},
        "created_at": _MOMENT,
        "updated_at": _MOMENT,
        "is_labeled": False,
        "overlap": 1,
        "inner_id": number,
        "total_annotations": 0,
        "cancelled_annotations": 0,
        "total_predictions": 0,
        "comment_count": 0,
        "unresolved_comment_count": 0,
        "last_comment_updated_at": None,
        "project": project_id,
        "updated_by": None,
        "file_upload": None,
        "comment_authors": [],
        "annotations": [],
        "predictions": [],
    }
