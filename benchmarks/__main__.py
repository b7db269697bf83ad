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

from benchmarks import gpu as gpu_benchmark
from benchmarks import gpu_workload
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


@app.command()
def gpu(
    device: Annotated[str, typer.Option(help="auto, cuda or cpu.")] = "auto",
    tiny: Annotated[bool, typer.Option(help="The demo's networks and small items, to try the way itself.")] = False,
    only: Annotated[list[str] | None, typer.Option(help="A task; may be repeated.")] = None,
    budget_s: Annotated[float, typer.Option(help="No part begins after so many seconds.")] = gpu_benchmark.BUDGET_S,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    save: Annotated[bool, typer.Option(help="Write the result to benchmarks/results/gpu-<device>.json.")] = False,
) -> None:
    """Measure every model family on this machine's GPU: rates, matrix-unit use, memory, what half precision changes."""
    if unknown := sorted(set(only or ()) - set(gpu_workload.TASKS)):
        raise typer.BadParameter(f"no task {', '.join(unknown)}; known: {', '.join(gpu_workload.TASKS)}")
    report = gpu_benchmark.measure(
        device=device,
        tiny=tiny,
        only=[task for task in gpu_workload.TASKS if task in (only or ())],
        budget_s=budget_s,
        progress=lambda part: typer.echo(part, err=True),
    )
    if save:
        gpu_benchmark.save(report)
    if as_json:
        typer.echo(gpu_benchmark.as_json(report))
    else:
        Console().print(gpu_benchmark.table(report))


if __name__ == "__main__":
    app()
