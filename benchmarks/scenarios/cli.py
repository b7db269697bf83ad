"""Gives prelabel its bench commands."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Protocol, cast

import typer
from pydantic import TypeAdapter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.scenarios import options as o
from benchmarks.scenarios.options import Options, options_of
from benchmarks.scenarios.report import InputFacts, Report, Scenario, Setup, notes_on
from benchmarks.scenarios.target import Settings

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Measure latency, throughput, goodput and cost of models or of the service, in MLPerf's scenarios.",
)

screen = Console()
notes = Console(stderr=True)
_REDRAW_S = 0.25


class Configuration(Protocol):
    """What the command line around this one leaves in the context: it reads a configuration by its name."""

    def __call__(self, name: str | None = None) -> Settings: ...


@app.command("single-stream")
def single_stream(
    context: typer.Context,
    config: o.Config = None,
    task: o.TaskName = None,
    model: o.ModelName = None,
    target: o.TargetName = "engine",
    address: o.Address = None,
    api_key: o.ApiKey = None,
    random_weights: o.RandomWeights = False,
    drop: o.Drop = None,
    items: o.Items = None,
    duration_s: o.DurationS = 5.0,
    repeats: o.Repeats = 5,
    warm_up: o.WarmUp = None,
    threads: o.Threads = None,
    deadline_s: o.DeadlineS = None,
    price_per_hour: o.Price = None,
    seed: o.Seed = 0,
    out: o.Out = None,
    as_json: o.AsJson = False,
) -> None:
    """Send the next item when the last one is answered: what one user waits for."""
    _bench("single-stream", context)


@app.command()
def server(
    context: typer.Context,
    config: o.Config = None,
    task: o.TaskName = None,
    model: o.ModelName = None,
    target: o.TargetName = "engine",
    address: o.Address = None,
    api_key: o.ApiKey = None,
    random_weights: o.RandomWeights = False,
    drop: o.Drop = None,
    rate: o.Rates = None,
    find_max_rate: o.FindMaxRate = False,
    items: o.Items = None,
    duration_s: o.DurationS = 5.0,
    repeats: o.Repeats = 5,
    warm_up: o.WarmUp = None,
    at_once: o.AtOnce = None,
    threads: o.Threads = None,
    deadline_s: o.DeadlineS = None,
    price_per_hour: o.Price = None,
    seed: o.Seed = 0,
    out: o.Out = None,
    as_json: o.AsJson = False,
) -> None:
    """Send items at random times (Poisson), however many are open: what many users wait for, from when each was due."""
    _bench("server", context)


@app.command()
def offline(
    context: typer.Context,
    config: o.Config = None,
    task: o.TaskName = None,
    model: o.ModelName = None,
    target: o.TargetName = "engine",
    address: o.Address = None,
    api_key: o.ApiKey = None,
    random_weights: o.RandomWeights = False,
    drop: o.Drop = None,
    batch_limit: o.BatchLimits = None,
    items: o.Items = None,
    duration_s: o.DurationS = 5.0,
    repeats: o.Repeats = 5,
    warm_up: o.WarmUp = None,
    at_once: o.AtOnce = None,
    threads: o.Threads = None,
    deadline_s: o.DeadlineS = None,
    price_per_hour: o.Price = None,
    seed: o.Seed = 0,
    out: o.Out = None,
    as_json: o.AsJson = False,
) -> None:
    """Send everything at once: how fast a batch job runs."""
    _bench("offline", context)


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(help="A report.json, or the folder that holds it.", show_default=False)],
    after: Annotated[Path, typer.Argument(help="The report to compare with it.", show_default=False)],
    margin: Annotated[float, typer.Option(min=0.0, help="The least relative change that is called one.")] = 0.02,
    force: Annotated[bool, typer.Option(help="Compare though hardware, model, scenario or inputs differ.")] = False,
    as_json: o.AsJson = False,
) -> None:
    """Say what changed from one report to another beyond the spread of their repetitions."""
    from benchmarks.scenarios import compare as comparing
    from benchmarks.scenarios.report import read
    from benchmarks.scenarios.table import compared

    files = tuple(path / "report.json" if path.is_dir() else path for path in (before, after))
    comparison = comparing.compare(read(files[0]), read(files[1]), margin=margin, force=force)
    if as_json:
        screen.print_json(TypeAdapter(comparing.Comparison).dump_json(comparison).decode())
    else:
        screen.print(compared(comparison, names=(str(files[0]), str(files[1]))))


def _bench(scenario: Scenario, context: typer.Context) -> None:
    """Measure, print, and write what was asked for."""
    options, load = options_of(context), _configuration(context)
    report = _measured(scenario, options, load(options.config))
    if options.as_json:
        screen.print_json(report.json().decode())
    else:
        from benchmarks.scenarios.table import rendered

        screen.print(rendered(report))
    if options.out:
        _write(report, options.out)


def _configuration(context: typer.Context) -> Configuration:
    if not callable(context.obj):
        raise RuntimeError("the bench commands run under 'prelabel', which tells them how to read a configuration")
    return cast(Configuration, context.obj)


def _measured(scenario: Scenario, options: Options, settings: Settings) -> Report:
    from benchmarks import machine
    from benchmarks.scenarios.subject import subject_of
    from benchmarks.scenarios.trial import Plan, Trial

    subject = subject_of(options, settings)
    here, inputs = machine.here(), subject.inputs()
    plan = Plan(
        scenario=scenario,
        repeats=options.repeats,
        items=options.items,
        duration_s=options.duration_s,
        rates_per_s=options.rate or (),
        deadline_s=options.deadline_s,
        finds_max_rate=options.find_max_rate,
        warm_up_items=subject.warm_up_items,
        seed=options.seed,
    )

    async def measure() -> Report:
        async with subject.running() as targets:
            watcher.note("")
            result = await Trial(plan, inputs, watcher).run(targets)
        [target, *_] = targets.values()
        return Report(
            measured_at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            scenario=scenario,
            target=subject.where,
            task=subject.task,
            models=target.models,
            inputs=InputFacts(
                what=inputs.what,
                files=len(inputs.files),
                mean_bytes=inputs.mean_bytes,
                digest=inputs.digest,
                left_out=inputs.left_out,
            ),
            setup=Setup(
                repeats=plan.repeats,
                warm_up_items=plan.warm_up_items,
                at_once=1 if scenario == "single-stream" else target.at_once,
                compute_threads=subject.threads,
                seed=plan.seed,
                deadline_s=plan.deadline_s,
                price_per_hour=options.price_per_hour,
            ),
            machine=here,
            load_average_at_end=machine.load_average(),
            peak_items_per_s=result.peak_items_per_s,
            points=result.points,
        )

    with _watching() as watcher, _compute_threads(subject.threads):
        report = asyncio.run(measure())
    return replace(report, notes=notes_on(report))


@contextmanager
def _compute_threads(n: int | None) -> Iterator[None]:
    """As many threads for the network as a replica would have; a service sees to its own."""
    if n is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _write(report: Report, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_bytes(report.json() + b"\n")
    notes.print(f"wrote [bold]{out / 'report.json'}[/]", soft_wrap=True)
    try:
        from benchmarks.scenarios.plots import draw
    except ImportError:
        notes.print("no plots: matplotlib is not installed; get it with: pip install 'prelabel[bench]'", markup=False)
        return
    for file in draw(report, out):
        notes.print(f"wrote [bold]{file}[/]", soft_wrap=True)


class _Bar:
    """A progress bar that is redrawn a few times a second, so that it does not take part in what is measured."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bar = progress.add_task("starting", total=None)

    def note(self, what: str) -> None:
        self._progress.update(self._bar, description=what)

    def begin(self, what: str, total: int) -> Callable[[], None]:
        self._progress.reset(self._bar, description=what, total=total)
        done, drawn_s = 0, time.monotonic()

        def on_done() -> None:
            nonlocal done, drawn_s
            done += 1
            if done == total or time.monotonic() - drawn_s > _REDRAW_S:
                drawn_s = time.monotonic()
                self._progress.update(self._bar, completed=done)

        return on_done


@contextmanager
def _watching() -> Iterator[_Bar]:
    columns = (TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=notes, refresh_per_second=2, transient=True) as progress:
        yield _Bar(progress)
