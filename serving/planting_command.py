"""Gives the command line its command for errors that are planted on purpose."""

from __future__ import annotations

import secrets
from typing import Annotated

import numpy as np
import typer

from pipelines.review import ReviewQueue
from serving import settings as configuration
from serving.drops.commands import with_store
from serving.terminal import AsJson, Config, notes, print_json


def plant(
    queue: Annotated[str, typer.Argument(help="The review queue to plant them in.", show_default=False)],
    n: Annotated[int, typer.Option("-n", help="How many.")] = 20,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Queue pre-labels that are wrong on purpose, to measure how many errors reviewers notice.

    They are made from pre-labels that somebody has found right, and served to anybody else. They give no result and
    count in no rate but that of 'prelabel corrections' and of audits that are shown.
    """
    acceptable, rng = configuration.load(config).acceptable, np.random.default_rng(secrets.randbits(64))
    planted = with_store(config, lambda store: ReviewQueue(store, acceptable=acceptable).plant(queue, n, rng=rng))
    if as_json:
        print_json({"queue": queue, "planted": len(planted)})
        return
    notes.print(f"planted {len(planted)} in [bold]{queue}[/]")
    if len(planted) < n:
        notes.print("there are no more: each right pre-label that was shown to its reviewer makes one")
