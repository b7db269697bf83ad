"""Reads from a webhook what is to be looked up; its content is not trusted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Subject = Literal["tasks", "annotations"]

# Label Studio's actions, by what they are about. Others are none of ours.
_SUBJECTS: dict[str, Subject] = {
    "TASKS_CREATED": "tasks",
    "ANNOTATION_CREATED": "annotations",
    "ANNOTATIONS_CREATED": "annotations",
    "ANNOTATION_UPDATED": "annotations",
    "ANNOTATIONS_DELETED": "annotations",
}
_MOST_IDS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """That something happened to tasks or annotations with these ids."""

    action: Subject
    ids: tuple[int, ...]


def hint_of(body: Mapping[str, Any]) -> Hint | None:
    """What a webhook hints at; None if it is nothing that we follow."""
    subject = _SUBJECTS.get(str(body.get("action")))
    if subject is None:
        return None
    found = body.get("tasks") if subject == "tasks" else (body.get("annotations") or body.get("annotation"))
    ids = tuple(dict.fromkeys(_ids(found)))[:_MOST_IDS]
    return Hint(action=subject, ids=ids) if ids else None


def _ids(found: object) -> Iterator[int]:
    for one in found if isinstance(found, list) else [found]:
        number = one.get("id") if isinstance(one, dict) else one
        if isinstance(number, int) and not isinstance(number, bool) and 0 < number < 2**63:
            yield number
