"""Runs the benchmarks: ``python -m benchmarks ratios``."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import gpu as gpu_benchmark
from benchmarks import gpu_workload, machine
from benchmarks import interactive as interactive_benchmark
from benchmarks import interference as interference_benchmark
from benchmarks import soak as soak_benchmark
from benchmarks.active_loop import command as active_loop_benchmark
from benchmarks.active_loop import report as active_loop_report
from benchmarks.decisions import parts as decision_parts
from benchmarks.drops import registry
from benchmarks.judgement import Report
from benchmarks.label_studio import parts as label_studio_parts
from benchmarks.label_studio.platform import LabelStudioMissing
from benchmarks.ratios import report, runner, saved
from benchmarks.ratios.registry import FURTHER, MODULES, chosen
from benchmarks.ratios.runner import Outcome
from benchmarks.sampling import report as sampling_report

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
RESULTS = Path(__file__).parent / "results"


@app.callback()
def _several() -> None:
    """Measure prelabel, side by side with what it is compared to."""


@app.command()
def ratios(
    only: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(MODULES)}; may be repeated.")] = None,
    quick: Annotated[
        bool,
        typer.Option(help=f"Fewer rounds and items, within 15 minutes; {', '.join(sorted(FURTHER))} only if named."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    save: Annotated[
        bool, typer.Option(help="Write each result to benchmarks/results/ratios.json, where others stay.")
    ] = False,
) -> None:
    """Compare prelabel with its peers, each pair side by side on the same work. Exits with 1 if a comparison broke."""
    _refuse_unknown(only or (), MODULES)
    modules = chosen(only or (), quick=quick)
    outcome = _compared("ratios", modules, names=list(MODULES), quick=quick, as_json=as_json, save=save)
    raise typer.Exit(1 if outcome.failed else 0)


@app.command()
def drops(
    only: Annotated[
        list[str] | None, typer.Option(help=f"One of {', '.join(registry.MODULES)}; may be repeated.")
    ] = None,
    quick: Annotated[bool, typer.Option(help="Fewer rounds and items, within six minutes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    save: Annotated[
        bool, typer.Option(help="Write each result to benchmarks/results/drops.json, where others stay.")
    ] = False,
) -> None:
    """Measure the batch job, prelabel annotate. Exits with 1 if a bar is missed or a measurement broke."""
    _refuse_unknown(only or (), registry.MODULES)
    modules = registry.chosen(only or ())
    outcome = _compared("drops", modules, names=list(registry.MODULES), quick=quick, as_json=as_json, save=save)
    raise typer.Exit(0 if outcome.is_met else 1)


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


@app.command()
def soak(
    minutes: Annotated[float, typer.Option(min=0.1, help="How long the overload lasts.")] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    save: Annotated[bool, typer.Option(help="Write the result to benchmarks/results/soak.json.")] = False,
) -> None:
    """Overload the service with 1.5 times what it can do. Exits with 1 if it breaks, leaks, or stops answering."""
    result = soak_benchmark.measure(minutes=minutes, progress=lambda line: typer.echo(line, err=True))
    _report("soak", soak_benchmark.report(result), as_json=as_json, save=save)


@app.command()
def interactive(
    rounds: Annotated[int, typer.Option(min=2, help="New images to click on.")] = interactive_benchmark.ROUNDS,
    device: Annotated[str, typer.Option(help="auto, cuda or cpu.")] = "auto",
    tiny: Annotated[bool, typer.Option(help="The demo's network and small images, to try the way itself.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    save: Annotated[bool, typer.Option(help="Write the result to benchmarks/results/interactive.json.")] = False,
) -> None:
    """Measure the first click on an image against those after it. Exits with 1 if these are not quick, or differ."""
    progress = partial(typer.echo, err=True)
    result = interactive_benchmark.measure(rounds=rounds, tiny=tiny, device=device, progress=progress)
    _report("interactive", interactive_benchmark.report(result), as_json=as_json, save=save)


@app.command()
def interference(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    save: Annotated[bool, typer.Option(help="Write the result to benchmarks/results/interference.json.")] = False,
) -> None:
    """Measure what a bulk client costs somebody who waits for one item. Exits with 1 if it is more than one batch."""
    result = interference_benchmark.measure(progress=lambda line: typer.echo(line, err=True))
    _report("interference", interference_benchmark.report(result), as_json=as_json, save=save)


@app.command()
def sampling(
    quick: Annotated[bool, typer.Option(help="Six seeds, three strategies, 50,000 items; within two minutes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    save: Annotated[bool, typer.Option(help="Write the result to benchmarks/results/sampling.json.")] = False,
) -> None:
    """Measure the labels that sampling saves, and its time and memory. Exits with 1 if a bar is missed."""
    result = sampling_report.measure(quick=quick, progress=lambda line: typer.echo(line, err=True))
    _report("sampling", result, as_json=as_json, save=save)


@app.command()
def decisions(
    only: Annotated[
        list[str] | None, typer.Option(help=f"One of {', '.join(decision_parts.PARTS)}; may be repeated.")
    ] = None,
    quick: Annotated[bool, typer.Option(help="A tenth of the trials, and 900 scenes; within four minutes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    save: Annotated[
        bool, typer.Option(help="Write each result to benchmarks/results/decisions.json, where others stay.")
    ] = False,
    page: Annotated[
        Path | None, typer.Option(help="Where to write the detector's calibration report, as HTML.")
    ] = None,
) -> None:
    """Hold certified auto-acceptance against the truth, made up and of the demo's detector. Exits with 1 on a miss."""
    _refuse_unknown(only or (), decision_parts.PARTS)
    reports: dict[decision_parts.Part, Report] = {}
    for part in decision_parts.chosen(only or ()):
        progress = partial(typer.echo, err=True)
        reports[part] = decision_parts.measure(part, quick=quick, progress=progress, page=page)
        if save:
            decision_parts.save(RESULTS / "decisions.json", decision_parts.figures(reports, machine.here()))
    if as_json:
        typer.echo(json.dumps(decision_parts.figures(reports, machine.here()), indent=1, allow_nan=False))
    else:
        Console().print(*(one.table for one in reports.values()))
    raise typer.Exit(0 if all(one.is_met for one in reports.values()) else 1)


@app.command("label-studio")
def label_studio(
    only: Annotated[
        list[str] | None, typer.Option(help=f"One of {', '.join(label_studio_parts.PARTS)}; may be repeated.")
    ] = None,
    quick: Annotated[bool, typer.Option(help="600 tasks and 30 s of probes; within a quarter of an hour.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    save: Annotated[
        bool, typer.Option(help="Write each result to benchmarks/results/label_studio.json, where others stay.")
    ] = False,
) -> None:
    """Measure the service as the backend of a real Label Studio. Exits with 1 if a bar is missed, 2 without one."""
    _refuse_unknown(only or (), label_studio_parts.PARTS)
    reports: dict[label_studio_parts.Part, Report] = {}
    machines: dict[label_studio_parts.Part, machine.Machine] = {}
    for part in label_studio_parts.chosen(only or ()):
        machines[part] = machine.here()
        try:
            reports[part] = label_studio_parts.measure(part, quick=quick, progress=partial(typer.echo, err=True))
        except LabelStudioMissing as err:
            typer.echo(err, err=True)
            raise typer.Exit(2) from err
        if save:
            label_studio_parts.save(RESULTS / "label_studio.json", label_studio_parts.figures(reports, machines))
    if as_json:
        typer.echo(json.dumps(label_studio_parts.figures(reports, machines), indent=1, allow_nan=False))
    else:
        Console().print(*(one.table for one in reports.values()))
    raise typer.Exit(0 if all(one.is_met for one in reports.values()) else 1)


@app.command("active-loop")
def active_loop(
    task: Annotated[str, typer.Option(help="detection, ner, or both.")] = "both",
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Instead of four (three of images).", show_default=False)
    ] = None,
    quick: Annotated[bool, typer.Option(help="One seed and two rounds of small drops, within two minutes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    save: Annotated[bool, typer.Option(help="Write result and plot to benchmarks/results/active_loop.*.")] = False,
    out: Annotated[Path | None, typer.Option(help="A folder for the plot.", show_default=False)] = None,
) -> None:
    """Label, choose, review, certify, route and learn, round by round, where the truth is known. Exits 1 on a miss."""
    known = active_loop_benchmark.PLANS
    if task != "both" and task not in known:
        raise typer.BadParameter(f"no task '{task}'; known: {', '.join(known)}, both", param_hint="--task")
    measured = active_loop_benchmark.measure(
        [name for name in known if task in (name, "both")],
        rounds=rounds,
        quick=quick,
        progress=lambda line: typer.echo(line, err=True),
    )
    for folder in (RESULTS if save else None, out):
        if folder is not None:
            _plot_active_loop(measured, folder)
    _report("active_loop", active_loop_report.report(measured), as_json=as_json, save=save)


def _plot_active_loop(measured: active_loop_benchmark.Measured, folder: Path) -> None:
    try:
        from benchmarks.active_loop import plots
    except ImportError:
        typer.echo("no plot: matplotlib is not installed; install prelabel[bench]", err=True)
        return
    folder.mkdir(parents=True, exist_ok=True)
    plots.draw(measured, folder / "active_loop.png", machine.here())


def _refuse_unknown(only: Collection[str], known: Collection[str]) -> None:
    if unknown := sorted(set(only) - set(known)):
        raise typer.BadParameter(f"no comparison {', '.join(unknown)}; known: {', '.join(known)}", param_hint="--only")


def _compared(
    name: str, modules: Mapping[str, str], *, names: Sequence[str], quick: bool, as_json: bool, save: bool
) -> Outcome:
    """Measure, save what comes as it comes, and show it all."""
    measured_on = machine.here()

    def keep(outcome: Outcome) -> None:
        if save:
            saved.save(RESULTS / f"{name}.json", report.as_json(outcome, measured_on), names=names)

    outcome = runner.run(modules, quick=quick, progress=lambda line: typer.echo(line, err=True), keep=keep)
    if as_json:
        typer.echo(json.dumps(report.as_json(outcome, measured_on), indent=1))
    else:
        Console().print(report.as_table(outcome, measured_on))
    return outcome


def _report(name: str, report: Report, *, as_json: bool, save: bool) -> None:
    text = report.as_json(machine.here())
    if save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(text + "\n")
    if as_json:
        typer.echo(text)
    else:
        Console().print(report.table)
    raise typer.Exit(0 if report.is_met else 1)


if __name__ == "__main__":
    app()
