"""Gives the command line its command for what reviewers changed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

import typer

from pipelines.store.ledger import Ledger, Sensitivity
from pipelines.store.store import Store
from pipelines.store.totals import GROUPINGS, Chosen, Totals
from serving.correction_group import CorrectionGroup, slice_named
from serving.drops.commands import with_store
from serving.terminal import AsJson, Config, notes, print_json, print_rows, task_named

_MOST_ERRORS = 2  # kinds; --json has all, and how many annotations were edited, rejected and added


def corrections(
    by: Annotated[str | None, typer.Option(help=f"One of: {', '.join(GROUPINGS)}.", show_default=False)] = None,
    task: Annotated[str | None, typer.Option(help="Only of this task.", show_default=False)] = None,
    run: Annotated[str | None, typer.Option(help="Only of this run.", show_default=False)] = None,
    label: Annotated[str | None, typer.Option(help="Only where this class occurs.", show_default=False)] = None,
    slice_: Annotated[
        str | None, typer.Option("--slice", help="Only of items with KEY=VALUE in their meta.", show_default=False)
    ] = None,
    stream: Annotated[
        str | None, typer.Option(help="Only routed, random, sampled, gold or volunteered.", show_default=False)
    ] = None,
    since: Annotated[
        datetime | None, typer.Option(help="Only what was answered then (UTC) or later.", show_default=False)
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show what reviewers changed: how much is accepted as it is, what is wrong with the rest, and what that costs."""
    chosen = Chosen(
        task=None if task is None else task_named(task),
        run_id=run,
        label=label,
        slice=slice_named(slice_),
        stream=stream,
        since=None if since is None else since.replace(tzinfo=UTC),
    )

    async def read(store: Store) -> tuple[list[Totals], Sensitivity]:
        ledger = Ledger(store)
        await ledger.catch_up()
        return await ledger.totals(by, chosen=chosen), await ledger.sensitivity()

    totals, sensitivity = with_store(config, read)
    if as_json:
        groups = [CorrectionGroup.of(group).model_dump() for group in totals]
        noticed = {"caught": sensitivity.caught, "planted": sensitivity.planted}
        print_json({"by": by, "groups": groups, "sensitivity": noticed})
        return
    print_rows([_row(group, by) for group in totals])
    if sensitivity.planted:
        notes.print(f"reviewers noticed {sensitivity.caught} of {sensitivity.planted} errors that were planted")


def _row(totals: Totals, by: str | None) -> Mapping[str, object]:
    most = sorted(totals.errors.items(), key=lambda error: (-error[1], error[0]))
    return {
        by or "group": totals.group,
        "reviews": totals.reviews,
        "shown": totals.shown,
        "labels\nkept": _percent(totals.acceptance_rate),
        "items\nkept": _percent(totals.untouched_rate),
        "took (s)": _number(totals.seconds),
        "mostly": ", ".join(f"{name} {count}" for name, count in most[:_MOST_ERRORS]),
    }


def _percent(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.0%}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
