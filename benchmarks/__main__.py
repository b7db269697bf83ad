"""Runs the benchmarks: ``python -m benchmarks ratios``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import machine
from benchmarks.ratios import report, runner
from benchmarks.ratios.registry import MODULES

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
RESULTS = Path(__file__).parent / "results"


@app.callback()
def _several() -> None:
    """Measure prelabel, side by side with what it is compared to."""


@app.command()
def ratios(
    only: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(MODULES)}; may be repeated.")] = None,
    quick: Annotated[bool, typer.Option(help="Fewer rounds and items: all together within 15 minutes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    save: Annotated[bool, typer.Option(help="Write the result to benchmarks/results/ratios.json.")] = False,
) -> None:
    """Compare prelabel with its peers, each pair side by side on the same work. Exits with 1 if a comparison broke."""
    if unknown := sorted(set(only or ()) - set(MODULES)):
        raise typer.BadParameter(
            f"no comparison {', '.join(unknown)}; known: {', '.join(MODULES)}", param_hint="--only"
        )
    modules = {name: module for name, module in MODULES.items() if not only or name in only}
    outcome = runner.run(modules, quick=quick, progress=lambda line: typer.echo(line, err=True))
    measured_on = machine.here()
    text = json.dumps(report.as_json(outcome, measured_on), indent=1)
    if save:
        (RESULTS / "ratios.json").write_text(text + "\n")
    if as_json:
        typer.echo(text)
    else:
        Console().print(report.as_table(outcome, measured_on))
    raise typer.Exit(1 if outcome.failed else 0)


if __name__ == "__main__":
    app()
