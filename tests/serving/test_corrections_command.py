"""Checks the command that shows what reviewers changed."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from pipelines.review import ReviewQueue
from pipelines.store.store import Store
from serving import cli
from tests.pipelines.builders import a_labelled, an_annotation

run = CliRunner()


@pytest.fixture
def environment(postgres_url: str) -> dict[str, str]:
    return {"PRELABEL_STORE__URL": postgres_url}


async def _review(url: str) -> None:
    """One item whose pre-label is right, one with a wrong class, and a planted error that nobody notices."""
    async with Store.open(url) as store:
        run_id, queue = await store.start_run("a drop", run_id="drop"), ReviewQueue(store)
        await store.save([a_labelled(name, route="review") for name in ("a", "b")], run_id=run_id)
        for task, label in zip(await queue.claim("boxes", reviewer="ann", n=2), ("cat", "dog"), strict=True):
            annotations = [an_annotation(label=label)]
            await queue.submit(task.id, 1, reviewer="ann", annotations=annotations, seconds=4.0)
        await queue.plant("boxes", 1, rng=np.random.default_rng(0))
        [task] = await queue.claim("boxes", reviewer="bob")
        annotations = task.pre_label.prediction.annotations
        await queue.submit(task.id, 1, reviewer="bob", annotations=annotations)


def test_rates_and_errors_are_shown_for_people_and_machines(postgres_url: str, environment: dict[str, str]) -> None:
    asyncio.run(_review(postgres_url))

    shown = run.invoke(cli.app, ["corrections", "--by", "model"], env=environment | {"COLUMNS": "200"})
    said = run.invoke(cli.app, ["corrections", "--by", "label", "--run", "drop", "--json"], env=environment)

    assert shown.exit_code == 0, shown.output
    for word in ("detector@1", "50%", "class (1)", "4.0"):
        assert word in shown.stdout
    assert "reviewers noticed 0 of 1 errors that were planted" in shown.stderr
    told = json.loads(said.stdout)
    assert [(g["group"], g["unchanged"], g["edited"], g["missed"]) for g in told["groups"]] == [
        ("cat", 1, 1, 0),
        ("dog", 0, 0, 1),
    ]
    assert told["sensitivity"] == {"caught": 0, "planted": 1}


def test_without_reviews_it_says_so(environment: dict[str, str]) -> None:
    shown = run.invoke(cli.app, ["corrections"], env=environment)

    assert (shown.exit_code, shown.stdout.strip()) == (0, "nothing yet")


def test_an_unknown_grouping_is_a_sentence(environment: dict[str, str]) -> None:
    failed = run.invoke(cli.app, ["corrections", "--by", "colour"], env=environment)

    assert failed.exit_code == 1
    assert "grouped by one of label, slice:KEY" in str(failed.exception)
