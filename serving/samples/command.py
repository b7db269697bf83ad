"""Gives the command line its command for choosing what a human should label next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from models.errors import ConfigError
from pipelines.sample import SampleRequest, draw
from pipelines.sampling import STRATEGIES, strategy_named
from pipelines.store.samples import Sample
from pipelines.store.store import Store
from serving import settings as configuration
from serving.drops.commands import with_store
from serving.samples.answer import answer
from serving.samples.queues import queues_of
from serving.terminal import AsJson, Config, notes, print_json, print_rows, task_named

_SHOWN = 20  # items, to a person


def sample(
    budget: Annotated[int, typer.Option(min=1, help="How many items.", show_default=False)],
    run_id: Annotated[
        str | None, typer.Argument(metavar="RUN", help="The run's id; else all runs of --task.", show_default=False)
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="detection, segmentation, ner or speech.", show_default=False)
    ] = None,
    strategy: Annotated[str, typer.Option(help=f"One of: {', '.join(STRATEGIES)}.")] = "hybrid",
    explore: Annotated[
        float, typer.Option(help="The share that is drawn uniformly, and reviewed without seeing the pre-label.")
    ] = 0.1,
    group_by: Annotated[
        str | None, typer.Option(help="A key of the items' meta: the slices of --quota and stratified.")
    ] = None,
    quota: Annotated[list[str] | None, typer.Option(help="GROUP=NUMBER: at most so many; may be repeated.")] = None,
    radius: Annotated[
        float | None, typer.Option(help="Choose nothing closer than this to what is labelled, queued or chosen.")
    ] = None,
    most_cost: Annotated[
        float | None, typer.Option(help="What all may cost: 1 + annotations each, recordings 1 + seconds.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Make the choice the same again.", show_default=False)] = None,
    queue: Annotated[
        str | None, typer.Option(help="The queue for the reviews; else the task's.", show_default=False)
    ] = None,
    sample_id: Annotated[
        str | None,
        typer.Option("--sample", help="An id that makes the command repeatable: nothing is queued twice."),
    ] = None,
    is_dry: Annotated[bool, typer.Option("--dry-run", help="Choose, and store and queue nothing.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Choose which items of a run a human should label next, say why, and queue their reviews."""
    request = SampleRequest(
        id=sample_id,
        task=None if task is None else task_named(task),
        run_id=run_id,
        budget=budget,
        strategy=strategy_named(strategy),
        explore=explore,
        group_by=group_by,
        quotas=_quotas(quota or []),
        radius=radius,
        most_cost=most_cost,
        seed=seed,
        queue=queue,
    )
    queues = queues_of(configuration.load(config))

    async def drawn(store: Store) -> Sample:
        return await draw(store, request, queues=queues, is_dry=is_dry)

    found = with_store(config, drawn)
    if as_json:
        print_json(answer(found).model_dump(mode="json"))
    else:
        _tell(found)


def _quotas(given: Sequence[str]) -> dict[str, int]:
    """The quotas by group.

    Raises:
        ConfigError: one is not GROUP=NUMBER.
    """
    quotas = dict[str, int]()
    for one in given:
        group, sign, number = one.rpartition("=")
        if not sign or not number.isdecimal():
            raise ConfigError(f"--quota takes GROUP=NUMBER, such as cam1=20; got '{one}'")
        quotas[group] = int(number)
    return quotas


def _tell(found: Sample) -> None:
    """Say to a person what was chosen."""
    drawn = [member for member in found.members if member.is_uniform]
    chosen = [member for member in found.members if not member.is_uniform]
    if drawn:
        notes.print(drawn[0].reason, highlight=False)
    if chosen:
        print_rows(
            [
                {"item": member.id, "utility": f"{member.utility:.3f}", "why": member.reason}
                for member in chosen[:_SHOWN]
            ]
        )
    if len(chosen) > _SHOWN:
        notes.print(f"and {len(chosen) - _SHOWN:,} more; --json shows all")
    if found.parameters.get("hidden"):
        notes.print(
            f"{found.parameters['hidden']:,} items cannot be shown, so what is drawn is no random sample of all"
        )
    if len(found.members) < found.budget:
        notes.print(f"{len(found.members):,} of {found.budget:,}: there is no room, or nothing left, for more")
    queued = sum(member.is_queued for member in found.members)
    if found.created_at is None:
        notes.print(f"a trial with seed {found.seed}; {queued:,} reviews would be queued")
    else:
        notes.print(f"sample [bold]{found.id}[/]: {queued:,} reviews queued in '{found.queue}', seed {found.seed}")
        if rest := len(found.members) - queued:
            notes.print(
                f"{rest:,} others wait for their review already, or have had it; what nobody has seen is blind now"
            )
