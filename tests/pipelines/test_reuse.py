"""Checks that equal questions are answered by one computation, and that kept answers are given again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from models.errors import ItemError
from models.types import BoxPrompt, Content, Prediction, Priority, Prompts
from pipelines.reuse import KeptModels, SharedModels
from pipelines.store.results import Results
from pipelines.store.store import Store
from pipelines.types import ModelUse
from tests.pipelines.builders import an_annotation

PATIENCE_S = 10.0
BOX = Prompts(boxes=(BoxPrompt(xyxy=(0.0, 0.0, 1.0, 1.0)),))


@dataclass
class Gated:
    """Answers once the gate is open, or times out when ``deadline_s`` is 0; remembers what it computed."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[tuple[str, str | None, Prompts, Priority]] = field(default_factory=list)
    cancelled: int = 0
    weights: str = "w"

    async def predict(
        self, model: str, content: Content, *, priority: Priority, deadline_s: float | None
    ) -> Prediction:
        self.asked.append((model, content.digest, content.prompts, priority))
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if deadline_s is not None and deadline_s < 1.0:
            raise ItemError("timeout", "too late")
        return Prediction(signals={"asked": float(len(self.asked))})

    def use_of(self, model: str) -> ModelUse:
        return ModelUse(name=model, version="1", weights_digest=self.weights, config_digest="c")


def a_content(digest: str | None = "a", *, prompts: Prompts = Prompts()) -> Content:
    return Content(media="image", data=b"", prompts=prompts, digest=digest)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - there is no event for "it was asked"
            await asyncio.sleep(0)


async def ask(
    models: SharedModels,
    content: Content,
    *,
    model: str = "m",
    priority: Priority = "interactive",
    deadline_s: float | None = None,
) -> Prediction:
    return await models.predict(model, content, priority=priority, deadline_s=deadline_s)


async def test_equal_questions_at_the_same_time_are_computed_once() -> None:
    inner = Gated()
    models = SharedModels(inner)
    asking = asyncio.gather(*(ask(models, a_content()) for _ in range(5)))
    await until(lambda: bool(inner.asked))

    inner.gate.set()

    assert await asking == [Prediction(signals={"asked": 1.0})] * 5
    assert len(inner.asked) == 1


async def test_different_questions_are_not_shared() -> None:
    inner = Gated()
    inner.gate.set()
    models = SharedModels(inner)

    await asyncio.gather(
        ask(models, a_content()),
        ask(models, a_content("b")),
        ask(models, a_content(prompts=BOX)),
        ask(models, a_content(), model="other"),
        ask(models, a_content(), priority="bulk"),
        ask(models, a_content(None)),
        ask(models, a_content(None)),
    )

    assert len(inner.asked) == 7


async def test_nothing_is_remembered_once_it_is_answered() -> None:
    inner = Gated()
    inner.gate.set()
    models = SharedModels(inner)

    await ask(models, a_content())
    await ask(models, a_content())

    assert len(inner.asked) == 2


async def test_one_who_leaves_does_not_take_the_answer_from_the_others() -> None:
    inner = Gated()
    models = SharedModels(inner)
    leaves, stays = (asyncio.create_task(ask(models, a_content())) for _ in range(2))
    await until(lambda: bool(inner.asked))

    leaves.cancel()
    await asyncio.gather(leaves, return_exceptions=True)
    inner.gate.set()

    assert await stays == Prediction(signals={"asked": 1.0})
    assert inner.cancelled == 0


async def test_when_the_last_has_left_the_work_ends_and_who_comes_next_starts_anew() -> None:
    inner = Gated()
    models = SharedModels(inner)
    leaves = asyncio.create_task(ask(models, a_content()))
    await until(lambda: bool(inner.asked))

    leaves.cancel()
    comes = asyncio.create_task(ask(models, a_content()))
    await until(lambda: len(inner.asked) == 2)
    inner.gate.set()

    assert await comes == Prediction(signals={"asked": 2.0})
    assert leaves.cancelled()
    assert inner.cancelled == 1


async def test_who_has_more_time_than_the_first_asks_again() -> None:
    inner = Gated()
    models = SharedModels(inner)
    hurried = asyncio.create_task(ask(models, a_content(), deadline_s=0.5))
    await until(lambda: bool(inner.asked))
    patient = asyncio.create_task(ask(models, a_content(), deadline_s=3600.0))
    await asyncio.sleep(0)

    inner.gate.set()

    with pytest.raises(ItemError, match="too late"):
        await hurried
    assert await patient == Prediction(signals={"asked": 2.0})


async def test_a_failure_reaches_everybody_who_waits() -> None:
    inner = Gated()
    models = SharedModels(inner)
    asking = asyncio.gather(*(ask(models, a_content(), deadline_s=0.0) for _ in range(3)), return_exceptions=True)
    await until(lambda: bool(inner.asked))

    inner.gate.set()

    assert [type(answer) for answer in await asking] == [ItemError] * 3


def kept_in(store: Store, inner: Gated, *, days: float = 1.0) -> KeptModels:
    inner.gate.set()
    return KeptModels(inner, Results(store, most_age=timedelta(days=days)))


async def test_a_kept_answer_is_given_again_as_it_was(store: Store) -> None:
    inner = Gated()
    models = kept_in(store, inner)

    first = await models.predict("m", a_content(), priority="interactive", deadline_s=None)
    again = await models.predict("m", a_content(), priority="bulk", deadline_s=None)

    assert first == again
    assert len(inner.asked) == 1


async def test_other_prompts_contents_and_weights_are_other_questions(store: Store) -> None:
    inner = Gated()
    models = kept_in(store, inner)
    for content in (a_content(), a_content("b"), a_content(prompts=BOX)):
        await models.predict("m", content, priority="interactive", deadline_s=None)

    inner.weights = "changed"
    await models.predict("m", a_content(), priority="interactive", deadline_s=None)

    assert len(inner.asked) == 4


async def test_an_answer_that_is_too_old_is_not_given_and_is_dropped(store: Store) -> None:
    inner = Gated()
    await kept_in(store, inner).predict("m", a_content(), priority="interactive", deadline_s=None)

    await kept_in(store, inner, days=0.0).predict("m", a_content(), priority="interactive", deadline_s=None)

    assert len(inner.asked) == 2
    assert await Results(store, most_age=timedelta(days=1)).drop_old() == 0
    assert await Results(store, most_age=timedelta(0)).drop_old() == 1


async def test_what_json_cannot_hold_is_not_kept(store: Store) -> None:
    kept = Results(store, most_age=timedelta(days=1))

    await kept.keep("not finite", Prediction(signals={"min_score": float("nan")}))
    await kept.keep("with a NUL", Prediction(annotations=(an_annotation(label="a\x00b"),)))

    assert await kept.find("not finite") is None
    assert await kept.find("with a NUL") == Prediction(annotations=(an_annotation(label="a\x00b"),))


async def test_a_store_that_is_away_costs_no_answer(store: Store, block_database: Callable[[bool], None]) -> None:
    inner = Gated()
    models = kept_in(store, inner)
    block_database(True)

    answer = await models.predict("m", a_content(), priority="interactive", deadline_s=None)
    block_database(False)

    assert answer == Prediction(signals={"asked": 1.0})
