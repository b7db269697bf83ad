"""Holds a measured value against its bar."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal, assert_never

Direction = Literal["at_most", "below", "at_least", "above"]
_SIGNS = {"at_most": "≤", "below": "<", "at_least": "≥", "above": ">"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One claim about what was measured; ``unit`` goes with both numbers."""

    what: str
    value: float
    bar: float
    direction: Direction
    unit: str = ""

    @property
    def is_met(self) -> bool:
        match self.direction:
            case "at_most":
                return self.value <= self.bar
            case "below":
                return self.value < self.bar
            case "at_least":
                return self.value >= self.bar
            case "above":
                return self.value > self.bar
            case unreachable:
                assert_never(unreachable)

    @property
    def sign(self) -> str:
        return _SIGNS[self.direction]

    def as_json(self) -> dict[str, str | float | bool]:
        return asdict(self) | {"met": self.is_met}
