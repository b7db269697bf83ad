"""Tests that the answers of a platform end the same whatever way their versions come, against a model in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.types import Annotation
from pipelines.platform_answers import PlatformAnswers
from pipelines.store.store import Store
from pipelines.types import Route
from tests.pipelines.builders import a_labelled, an_annotation
from tests.pipelines.platform import an_answer, ask, at, counted, tasks_of

KEYS = ("a", "b", "c")
ITEMS: dict[str, tuple[Route, bool]] = {
    "accepted": ("accept", False),
    "review": ("review", False),
    "audit": ("audit", True),
}
_numbers = count()
_OF_ITEM = """
JOIN review_tasks AS task ON task.id = task_id JOIN prelabels ON prelabels.id = prelabel_id WHERE item_id = :item_id
"""
_REVIEWS = f"SELECT task_id, one.attempt FROM reviews AS one {_OF_ITEM}"  # noqa: S608
_LOG = f"SELECT task_id, one.attempt, action FROM audit_log AS one {_OF_ITEM}"  # noqa: S608


@dataclass(frozen=True, kw_only=True)
class _Version:
    """What the platform says of an annotation at a minute: a label, or nothing any more; without a minute for good."""

    key: str
    minute: int | None
    label: str | None
    was_shown: bool = True


_History = list[_Version]
_minutes = st.integers(0, 9)
_said = st.builds(
    _Version,
    key=st.sampled_from(KEYS),
    minute=_minutes,
    label=st.sampled_from(["cat", "dog", "bird"]),
    was_shown=st.booleans(),
)
_withdrawn = st.builds(
    _Version, key=st.sampled_from(KEYS), minute=_minutes | st.none(), label=st.none(), was_shown=st.just(True)
)
_histories = st.lists(_said | _said | _withdrawn, min_size=1, max_size=9, unique_by=lambda one: (one.key, one.minute))


@st.composite
def _deliveries(draw: st.DrawFn) -> tuple[_History, list[_History]]:
    """What happened, and how it comes: in any order, with repetitions, some of it at the same time."""
    history = draw(_histories)
    again = draw(st.lists(st.sampled_from(history), max_size=5))
    order = draw(st.permutations(history + again))
    cuts = sorted(draw(st.sets(st.integers(1, len(order)), max_size=6)) | {len(order)})
    return history, [order[start:end] for start, end in zip([0, *cuts], cuts, strict=False)]


def _last(history: _History) -> dict[str, _Version]:
    """The last version of each key."""
    in_order = sorted(history, key=lambda one: float("inf") if one.minute is None else one.minute)
    return {one.key: one for one in in_order}


def _expected(history: _History, kind: str) -> list[tuple[str, str, str, bool]]:
    """Stream, key, label and whether it was shown of the answers that count; a's was given before b's and c's."""
    standing = [one for _, one in sorted(_last(history).items()) if one.label is not None]
    asked = [one for one in standing if kind == "review" or (kind == "audit" and not one.was_shown)]
    others = [one for one in standing if one not in asked]
    firsts = [("routed", asked[:1]), ("volunteered", others[:1])]
    return [(stream, one.key, str(one.label), one.was_shown) for stream, found in firsts for one in found]


@contextmanager
def _a_platform(url: str) -> Iterator[tuple[asyncio.Runner, Store, str]]:
    with asyncio.Runner() as runner:
        opening = Store.open(url)
        store = runner.run(opening.__aenter__())
        yield runner, store, runner.run(store.start_run("histories"))
        runner.run(opening.__aexit__(None, None, None))


def _call(answers: PlatformAnswers, run_id: str, item_id: str, one: _Version) -> Coroutine[Any, Any, object]:
    key = f"{item_id}:{one.key}"
    if one.label is None:
        return answers.withdraw(key, updated_at=None if one.minute is None else at(one.minute))
    said: tuple[Annotation, ...] = (an_annotation(label=one.label),)
    first = KEYS.index(one.key)
    return answers.record(
        an_answer(
            run_id,
            *said,
            key=key,
            item_id=item_id,
            was_shown=one.was_shown,
            created=first - 10,
            updated=one.minute or 0,
            reviewer=one.key,
        )
    )


async def _deliver(store: Store, run_id: str, item_id: str, batches: list[_History]) -> None:
    answers = PlatformAnswers(store)
    for batch in batches:
        await asyncio.gather(*(_call(answers, run_id, item_id, one) for one in batch))


async def _check(store: Store, run_id: str, item_id: str, kind: str, history: _History) -> None:
    expected = _expected(history, kind)
    streams = [stream for stream, *_ in expected]

    found = [
        (stream, reviewer, labels[0], is_shown) for stream, reviewer, labels, is_shown in await counted(store, item_id)
    ]
    states = await tasks_of(store, item_id)
    known = await PlatformAnswers(store).known([f"{item_id}:{key}" for key in KEYS])

    assert found == expected
    if kind != "accepted":
        assert states["routed"] == ("done" if "routed" in streams else "pending")
    assert states.get("volunteered", "withdrawn") == ("done" if "volunteered" in streams else "withdrawn")
    assert {key.rpartition(":")[2]: one.is_withdrawn for key, one in known.items()} == {
        key: one.label is None for key, one in _last(history).items()
    }
    assert await _attempts_are_logged(store, item_id)


async def _attempts_are_logged(store: Store, item_id: str) -> bool:
    """Whether every review, void or not, has its line in the log, and every line of an answer its review."""
    reviews = await ask(store, _REVIEWS, item_id=item_id)
    log = await ask(store, _LOG, item_id=item_id)
    noted = sorted((one["task_id"], one["attempt"]) for one in log if one["action"] in ("submitted", "replaced"))
    return sorted((one["task_id"], one["attempt"]) for one in reviews) == noted


@pytest.mark.parametrize("examples", [40, pytest.param(400, marks=pytest.mark.statistics)])
def test_the_last_versions_count_in_whatever_order_they_come(postgres_url: str, examples: int) -> None:
    with _a_platform(postgres_url) as (runner, store, run_id):

        @settings(max_examples=examples, database=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
        @given(delivery=_deliveries(), kind=st.sampled_from(sorted(ITEMS)))
        def holds(delivery: tuple[_History, list[_History]], kind: str) -> None:
            history, batches = delivery
            route, is_blind = ITEMS[kind]
            item_id = f"{kind}-{next(_numbers)}"
            runner.run(store.save([a_labelled(item_id, route=route, is_blind=is_blind)], run_id=run_id))

            runner.run(_deliver(store, run_id, item_id, batches))

            runner.run(_check(store, run_id, item_id, kind, history))

        holds()
