"""Keeps the figures of comparisons in a file, each as it was measured last on this machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_SAME_MACHINE = ("cpu", "cores", "libraries")
_KINDS = ("ratios", "skipped", "failed")

Figures = dict[str, Any]  # as report.as_json gives them


def save(file: Path, figures: Figures, *, names: Sequence[str]) -> None:
    """Write figures; those of comparisons that were not measured now stay.

    They do not if they are of another machine, or of a comparison that exists no more.

    Args:
        names: of the comparisons that there are, in the order of the table.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    merged = figures | {kind: _merged(kind, figures, _kept(file, figures), names) for kind in _KINDS}
    file.write_text(json.dumps(merged, indent=1) + "\n", encoding="utf-8")


def _kept(file: Path, figures: Figures) -> Figures:
    if not file.exists():
        return {}
    kept: Figures = json.loads(file.read_text(encoding="utf-8"))
    is_same = all(kept["machine"][name] == figures["machine"][name] for name in _SAME_MACHINE)
    return kept if is_same else {}


def _merged(kind: str, figures: Figures, kept: Figures, names: Sequence[str]) -> list[Figures]:
    measured = {entry["name"] for one in _KINDS for entry in figures[one]}
    others = [entry for entry in kept.get(kind, []) if entry["name"] in names and entry["name"] not in measured]
    return sorted([*others, *figures[kind]], key=lambda entry: names.index(entry["name"]))
