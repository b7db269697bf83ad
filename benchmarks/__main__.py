"""Runs the benchmarks: ``python -m benchmarks overhead``."""

from __future__ import annotations

import os

# Both arms of a comparison compute with as many threads as a replica has; libraries read this when they are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import overhead as overhead_benchmark

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
RESULTS = Path(__file__).parent / "results"


@app.callback()
def _several() -> None:
    """Measure prelabel, side by side with what it is compared to."""


@app.command()
def overhead(
    rounds: Annotated[int, typer.Option(help="Interleaved repetitions of both arms.")] = 7,
    items: Annotated[int, typer.Option(help="Items an arm labels in one round.")] = 64,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    save: Annotated[bool, typer.Option(help="Write the result to benchmarks/results/.")] = False,
) -> None:
    """Compare the service end to end with a bare loop over the same adapter, and count no-op requests."""
    result = overhead_benchmark.measure(rounds=rounds, items=items)
    text = json.dumps(asdict(result), indent=1)
    if save:
        (RESULTS / "overhead.json").write_text(text + "\n")
    if as_json:
        Console().print_json(text)
    else:
        Console().print(overhead_benchmark.table(result))


if __name__ == "__main__":
    app()
