"""Writes shapes as the JSON that CVAT's REST API takes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from serving.integrations.cvat.shape import Shape


@dataclass(slots=True)
class Payload:
    """The tags and shapes of a task, as they grow frame by frame."""

    tags: list[dict[str, Any]] = field(default_factory=list)
    shapes: list[dict[str, Any]] = field(default_factory=list)

    def add(self, frame: int, shapes: Iterable[Shape]) -> None:
        for shape in shapes:
            one = {
                "label_id": shape.label.id,
                "frame": frame,
                "source": "auto",
                "attributes": [{"spec_id": id_, "value": value} for id_, value in shape.attributes.items()],
            }
            if shape.type == "tag":
                self.tags.append(one)  # which has no place for a score
            else:
                self.shapes.append(one | {"type": shape.type, "points": list(shape.points), "score": shape.score})

    def as_json(self) -> dict[str, Any]:
        return {"tags": self.tags, "shapes": self.shapes}
