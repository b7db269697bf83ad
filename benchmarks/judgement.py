"""Holds measured values against their bars, and shows them to machines and people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, assert_never

from rich.console import Group, RenderableType
from rich.table import Table

from benchmarks.machine import Machine

Direction = Literal["at_most", "below", "at_least", "above"]
_SIGNS = {"at_most": "≤", "below": "<", "at_least": "≥", "above": ">"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One claim about what was measured; ``unit`` goes with both numbers. A value that is not known meets no bar."""

    what: str
    value: float | None
    bar: float
    direction: Direction
    unit: str = ""

    @property
    def is_met(self) -> bool:
        if self.value is None:
            return False
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

    def as_json(self) -> dict[str, str | float | bool | None]:
        return asdict(self) | {"met": self.is_met}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a load test claims, the figures behind it (ready for ``json.dumps``), and their tables."""

    judgements: Sequence[Judgement]
    figures: Mapping[str, Any]
    tables: Sequence[RenderableType]

    @property
    def is_met(self) -> bool:
        return all(judgement.is_met for judgement in self.judgements)

    @property
    def table(self) -> RenderableType:
        return Group(judged(self.judgements), *self.tables)

    def content(self, measured_on: Machine) -> dict[str, Any]:
        """Everything but the tables, ready for ``json.dumps``."""
        judgements = [judgement.as_json() for judgement in self.judgements]
        return {"machine": asdict(measured_on), "judgements": judgements, **self.figures}

    def as_json(self, measured_on: Machine) -> str:
        return json.dumps(self.content(measured_on), indent=1, allow_nan=False)


def judged(judgements: Sequence[Judgement]) -> Table:
    """A row for each claim."""
    grid = Table(title="judged", title_justify="left")
    for column in ("what", "value", "bar", "met"):
        grid.add_column(column, justify="left" if column == "what" else "right")
    for one in judgements:
        unit = f" {one.unit}" if one.unit else ""
        value = "not known" if one.value is None else f"{one.value:.4g}{unit}"
        bar = f"{one.sign} {one.bar:.4g}{unit}"
        grid.add_row(one.what, value, bar, "yes" if one.is_met else "no")
    return grid
