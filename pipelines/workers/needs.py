"""Says what a worker reserves on its node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_MOST_PER_NODE = 1_000  # where a worker reserves nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a worker reserves on its node: processors, and GPUs, of which it may be a part."""

    cpus: float
    gpus: float

    def __str__(self) -> str:
        """As a person reads it."""
        parts = ((self.cpus, "processors"), (self.gpus, "GPUs"))
        return " and ".join(f"{count:g} {name}" for count, name in parts if count) or "nothing"

    def fit(self, resources: Mapping[str, float]) -> int:
        """How many workers a node with these resources holds."""
        wanted = {"CPU": self.cpus, "GPU": self.gpus}
        room = (resources.get(name, 0.0) / share for name, share in wanted.items() if share)
        return int(min(room, default=_MOST_PER_NODE))
