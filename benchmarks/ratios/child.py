"""Measures one comparison in a process of its own: ``python -m benchmarks.ratios.child MODULE FILE [--quick]``."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import typer
from pydantic import TypeAdapter

from benchmarks.peers.environment import PeerMissing
from benchmarks.ratio import Ratio
from benchmarks.ratios.registry import measure_of

SKIPPED = 3


def main(module: str, file: Path, quick: bool = False) -> None:
    """Write the comparison's Ratio into the file as JSON; or what is missing for it, and exit with status 3."""
    try:
        ratio = _measured(module, quick=quick)
    except PeerMissing as err:
        file.write_text(str(err), encoding="utf-8")
        raise typer.Exit(SKIPPED) from err
    file.write_bytes(TypeAdapter(Ratio).dump_json(ratio))


def _measured(module: str, *, quick: bool) -> Ratio:
    before = os.getloadavg()[0]
    ratio = measure_of(module)(quick=quick)
    load = {"load_average_start": round(before, 2), "load_average_end": round(os.getloadavg()[0], 2)}
    when = {"measured_at": datetime.now(UTC).isoformat(timespec="minutes"), "is_quick": quick}
    return replace(ratio, details=ratio.details | load | when)


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()
