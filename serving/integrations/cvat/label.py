"""Holds a label as CVAT has it: a name, the kind of shape it takes, and attributes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from serving.integrations.cvat.attribute import Attribute, read_attribute

ANY = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A label of a CVAT task or of a function.

    ``type`` is CVAT's word: any, rectangle, polygon, mask, tag, or one that prelabel has no shapes for. ``id`` is the
    task's, or for a function's label unique within the function.
    """

    id: int
    name: str
    type: str = ANY
    attributes: tuple[Attribute, ...] = ()


def read_labels(labels: Iterable[Mapping[str, Any]]) -> tuple[Label, ...]:
    """Labels as CVAT's REST API has them; those inside a skeleton are no labels of their own."""
    return tuple(
        Label(
            id=int(label.get("id", place)),
            name=str(label["name"]),
            type=str(label.get("type") or ANY),
            attributes=tuple(map(read_attribute, label.get("attributes") or ())),
        )
        for place, label in enumerate(labels)
        if not label.get("has_parent")
    )
