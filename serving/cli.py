"""Gives prelabel its command line."""

from __future__ import annotations

import atexit
import json
import os
import signal
import sys
import threading
import traceback
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from models.errors import ConfigError, PrelabelError
from pipelines.store.store import Store
from serving import corrections_command, demo_command, planting_command
from serving import settings as configuration
from serving.drops import commands as drop_commands
from serving.integrations.cvat.commands import cvat_app
from serving.integrations.label_studio.commands import label_studio_app
from serving.policies.commands import policy_app
from serving.samples import command as sample_command
from serving.settings import Settings
from serving.terminal import AsJson, Config, notes, print_rows, screen, service

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False, help="First labels for raw data."
)
models_app = typer.Typer(no_args_is_help=True, help="The configured models and their weights.")
app.add_typer(models_app, name="models")
app.add_typer(drop_commands.runs_app, name="runs")
app.add_typer(policy_app, name="policy")
app.add_typer(label_studio_app, name="label-studio")
app.add_typer(cvat_app, name="cvat")
app.command()(demo_command.demo)
app.command()(drop_commands.annotate)
app.command()(drop_commands.export)
app.command()(corrections_command.corrections)
app.command()(planting_command.plant)
app.command()(sample_command.sample)
for _command in entry_points(group="prelabel.commands"):  # what other packages add; they get the configuration below
    app.add_typer(_command.load(), name=_command.name)


def main() -> None:
    """Run the command line; an expected failure prints its sentence and ends with 1."""
    try:
        app()
    except PrelabelError as err:
        notes.print(f"[bold red]error[/] [dim]{err.code}[/]  ", end="")
        notes.print(err.message, markup=False, highlight=False)
        raise SystemExit(1) from err


def run() -> NoReturn:
    """Run the command line as a process, and end that with the command's exit status.

    Once in some hundred commands a library that torch brings aborted the process as it ended, when all was done
    ("terminate called without an active exception", torch 2.15), and so changed its exit status. What Python has to do
    at the end is done; the libraries' own destructors are left out.
    """
    status: object = 0
    try:
        main()
    except SystemExit as err:
        status = err.code
    except KeyboardInterrupt:
        status = 130
    except BaseException:
        traceback.print_exc()
        status = 1
    atexit._run_exitfuncs()
    with suppress(OSError):  # nobody reads any more
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status if isinstance(status, int) else int(status is not None))


@app.callback()
def _configured(context: typer.Context) -> None:
    context.obj = _measured_settings


def _measured_settings(name: str | None = None) -> Settings:
    """A configuration as a service would run it."""
    from serving.profiles import profiled

    return profiled(configuration.load(name))


@app.command()
def serve(config: Config = None) -> None:
    """Run the service until it is interrupted."""
    stop = threading.Event()
    with service(configuration.load(config)) as address:
        for number in (signal.SIGINT, signal.SIGTERM):  # after Ray's start, which installs handlers of its own
            signal.signal(number, lambda *_: stop.set())
        notes.print(f"answering at [bold]{address}[/]  (try it at {address}/docs, end it with Ctrl-C)", soft_wrap=True)
        stop.wait()


@models_app.command("list")
def list_models(config: Config = None, as_json: AsJson = False) -> None:
    """List the configured models and whether their weights are here and as locked."""
    from serving.doctor import weights_finding

    settings = configuration.load(config)
    rows = [
        {
            "name": card.name,
            "version": card.version,
            "task": card.task,
            "adapter": card.adapter,
            "weights": weights_finding(card, settings.lock_file).text,
        }
        for card in settings.models
    ]
    if as_json:
        screen.print_json(json.dumps(rows))
    else:
        print_rows([{name: row[name] for name in ("name", "version", "task", "weights")} for row in rows])


@models_app.command()
def pull(config: Config = None) -> None:
    """Fetch the weights that the cards name and lock their bytes (revision and sha256)."""
    from models import weights

    settings = configuration.load(config)
    with notes.status("fetching weights …"):
        locks = weights.pull(settings.models, settings.lock_file)
    for name, lock in locks.items():
        notes.print(f"{name}: {len(lock.files)} files from {lock.source}")
    notes.print(f"locked in [bold]{settings.lock_file}[/]")


@models_app.command("profile")
def profile_models(
    config: Config = None,
    model: Annotated[list[str] | None, typer.Option(help="Measure this model alone; may be repeated.")] = None,
    drop: Annotated[Path | None, typer.Option(help="A folder of your own files; else the sample drop.")] = None,
    memory_share: Annotated[
        float | None, typer.Option(min=0.01, max=1.0, help="Of the device's memory, for each model; else 0.25.")
    ] = None,
    budget_gib: Annotated[float | None, typer.Option(min=0.001, help="The same in GiB.")] = None,
    seconds: Annotated[float, typer.Option(min=1.0, help="How long to try larger batches, for each model.")] = 60.0,
    write: Annotated[bool, typer.Option(help="Keep the result beside the configuration, and use it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure memory and speed of batches, and say which limits and which share of a GPU each model needs."""
    from serving import profiles
    from serving.profile_table import as_json as figures
    from serving.profile_table import table

    settings = configuration.load(config)
    budget = profiles.Budget.of(memory_share=memory_share, gib=budget_gib, seconds=seconds)
    cards = profiles.chosen(settings, model or ())
    with notes.status("measuring …") as status:
        outcomes = {}
        for card in cards:
            status.update(f"measuring {card.name} in a process of its own …")
            outcomes[card.name] = profiles.measured(settings, card, drop=drop, budget=budget)
    if as_json:
        screen.print_json(json.dumps(figures(outcomes)))
    else:
        screen.print(table(outcomes))
    if write:
        for line in profiles.written(settings, outcomes):
            notes.print(line, markup=False, highlight=False, soft_wrap=True)
    if any(isinstance(outcome, PrelabelError) for outcome in outcomes.values()):
        raise typer.Exit(1)


@app.command()
def queue(config: Config = None, as_json: AsJson = False) -> None:
    """Show the review queues: what waits, what is being reviewed, what is done."""
    overviews = drop_commands.with_store(config, Store.queues)
    if as_json:
        screen.print_json(json.dumps([asdict(overview) for overview in overviews], default=str))
        return
    print_rows([asdict(o) | {"oldest": f"{o.oldest:%Y-%m-%d %H:%M} UTC" if o.oldest else ""} for o in overviews])


@app.command()
def key(as_json: AsJson = False) -> None:
    """Make an API key, and the line for server.api_keys that admits it."""
    from serving.auth import new_key

    secret, line = new_key()
    if as_json:
        screen.print_json(json.dumps({"key": secret, "config_line": line}))
        return
    for what, value in (("key, shown once", secret), ("line for server.api_keys", line)):
        screen.print(f"{what + ':':<26} {value}", highlight=False, soft_wrap=True)


@app.command()
def doctor(
    subject: Annotated[
        str | None,
        typer.Argument(help="label-studio, to look at one of its projects instead.", show_default=False),
    ] = None,
    project: Annotated[
        int | None, typer.Option("--project", "-p", help="The project's number.", show_default=False)
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Where Label Studio is, if not connected.", show_default=False)
    ] = None,
    token: Annotated[
        str | None, typer.Option(help="A token of Label Studio's, if not connected.", show_default=False)
    ] = None,
    service: Annotated[
        str | None, typer.Option(help="How Label Studio reaches the service.", show_default=False)
    ] = None,
    api_key: Annotated[str | None, typer.Option(help="The API key that it has of ours.", show_default=False)] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Check accelerator, libraries, weights, store and port, or a project of Label Studio, and say what to do."""
    if subject is None:
        from serving.doctor import examine

        findings = examine(configuration.load(config))
    elif subject == "label-studio" and project is not None:
        from serving.integrations.label_studio.commands import findings_of

        findings = findings_of(config, project, url=url, token=token, service=service, api_key=api_key)
    else:
        raise ConfigError(f"nobody knows how to examine '{subject}'; try 'prelabel doctor label-studio --project 1'")
    if as_json:
        screen.print_json(json.dumps([asdict(finding) for finding in findings]))
    else:
        width = max(len(finding.subject) for finding in findings)
        for finding in findings:
            mark = {"ok": "[green]ok  [/]", "note": "[yellow]note[/]", "bad": "[red]bad [/]"}[finding.state]
            screen.print(f"{mark} [bold]{finding.subject:<{width}}[/]  {finding.text}", highlight=False, soft_wrap=True)
    if any(finding.state == "bad" for finding in findings):
        raise typer.Exit(1)


if __name__ == "__main__":
    run()
