"""Lays measured profiles out for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from models.errors import PrelabelError
from models.profile import paying
from models.profile_file import Profile

_MIB = 2**20


def table(outcomes: Mapping[str, Profile | PrelabelError]) -> RenderableType:
    """For each model its batches, a row each, and below them the limits that pay; or why it could not be measured."""
    return Group(*(part for name, outcome in outcomes.items() for part in _shown(name, outcome)))


def as_json(outcomes: Mapping[str, Profile | PrelabelError]) -> list[dict[str, Any]]:
    """The same, ready for ``json.dumps``."""
    return [{"model": name} | _figures(outcome) for name, outcome in outcomes.items()]


def _shown(name: str, outcome: Profile | PrelabelError) -> list[RenderableType]:
    if isinstance(outcome, PrelabelError):
        return [Text.assemble((name, "bold"), (" failed ", "red"), outcome.message)]
    return [_batches(name, outcome), _advice(outcome)]


def _figures(outcome: Profile | PrelabelError) -> dict[str, Any]:
    if isinstance(outcome, PrelabelError):
        return {"error": {"code": outcome.code, "message": outcome.message}}
    return asdict(outcome)


def _batches(name: str, profile: Profile) -> Table:
    title = f"[bold]{name}[/] on {profile.device}; loading it took {profile.model_bytes / _MIB:.0f} MiB"
    grid = Table(title=title, title_justify="left", title_style="", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("items", "cost", "memory, MiB", "items/s", ""):
        grid.add_column(column, justify="right")
    pays = paying(profile.batches)
    for batch in profile.batches:
        mark = "a larger batch adds less than 5 %" if batch is pays else ""
        memory, rate = f"{batch.peak_bytes / _MIB:.0f}", f"{batch.items_per_s or 0.0:.1f}"
        grid.add_row(str(batch.items), f"{batch.cost:.4g}", memory, rate, mark)
    return grid


def _advice(profile: Profile) -> Text:
    limits = f"limits: {{max_items: {profile.max_items}, max_cost: {profile.max_cost:g}}}"
    share = "" if profile.num_gpus is None else f", num_gpus: {profile.num_gpus:g}"
    return Text(f"{limits}{share}\nmeasured with {profile.items}\n")
