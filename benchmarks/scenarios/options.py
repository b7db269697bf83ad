"""Names the options of the bench commands and reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

Config = Annotated[
    str | None,
    typer.Option("--config", "-c", help="A configuration file or a preset (demo, gpu); else prelabel.yaml, else demo."),
]
TaskName = Annotated[str | None, typer.Option("--task", help="Measure this task's models, one after the other.")]
ModelName = Annotated[str | None, typer.Option("--model", help="Measure this model alone (engine only).")]
TargetName = Annotated[
    Literal["engine", "service"],
    typer.Option("--target", help="The engine in this process, or a service of its own with HTTP, JSON and store."),
]
Address = Annotated[
    str | None, typer.Option(help="Measure this running service instead; its store keeps what it labels.")
]
ApiKey = Annotated[str | None, typer.Option(help="The key that the service at --address asks for.")]
RandomWeights = Annotated[
    bool, typer.Option("--random-weights", help="Full-size networks without their weights: speed only (engine only).")
]
Drop = Annotated[Path | None, typer.Option(help="A folder of your own files; else the sample drop.")]
Items = Annotated[int | None, typer.Option(min=1, help="Items of one repetition; else as many as --duration-s holds.")]
DurationS = Annotated[float, typer.Option(min=0.1, help="About how long one repetition lasts.")]
Repeats = Annotated[int, typer.Option(min=1, help="Repetitions; below 5, compare can tell little.")]
WarmUp = Annotated[int | None, typer.Option(min=1, help="Items of the warm-up; else one full batch, 16 or more.")]
AtOnce = Annotated[
    int | None,
    typer.Option(min=1, help="Open queries at most (offline, peak); else the queue's bound, 64 for a service."),
]
Threads = Annotated[
    int | None, typer.Option(min=1, help="Compute threads (engine only); else what a replica reserves.")
]
DeadlineS = Annotated[float | None, typer.Option(min=0.0, help="Count what is answered within it (goodput).")]
Price = Annotated[float | None, typer.Option("--price-per-hour", min=0.0, help="What the hardware costs an hour.")]
Seed = Annotated[int, typer.Option(help="Draws inputs and arrivals.")]
Out = Annotated[Path | None, typer.Option(help="Write report.json and plots into this folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]
Rates = Annotated[
    list[float] | None,
    typer.Option(
        "--rate", min=0.001, help="Items due a second; repeat for a sweep; else 0.5, 0.8, 0.95 of a measured peak."
    ),
]
FindMaxRate = Annotated[
    bool, typer.Option(help="Look for the highest rate at which 99 % meet --deadline-s, and measure it too.")
]
BatchLimits = Annotated[
    list[int] | None,
    typer.Option("--batch-limit", min=1, help="The most items in a batch; repeat for a sweep (engine only)."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a bench command was asked for; what it does not offer stays as it is here."""

    config: str | None
    task: str | None
    model: str | None
    target: Literal["engine", "service"]
    address: str | None
    api_key: str | None
    random_weights: bool
    drop: Path | None
    items: int | None
    duration_s: float
    repeats: int
    warm_up: int | None
    at_once: int | None = None
    threads: int | None
    deadline_s: float | None
    price_per_hour: float | None
    seed: int
    out: Path | None
    as_json: bool
    rate: tuple[float, ...] | None = None
    find_max_rate: bool = False
    batch_limit: tuple[int, ...] | None = None


def options_of(context: typer.Context) -> Options:
    """The options of the command that runs, with the types stated here."""
    return TypeAdapter(Options).validate_python(context.params)
