"""Checks the engine's promises with an adapter small enough to see through."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from models.card import BatchLimits
from models.engine import Engine
from models.errors import ItemError, OverloadedError
from models.types import Annotation, Content, Payload, Prediction, TextPayload, WholeItem

PATIENCE_S = 10.0


@dataclass(frozen=True)
class Sample:
    text: str

    @property
    def cost(self) -> float:
        return float(len(self.text))


@dataclass
class Echo:
    """Labels a text with itself. "bad" fails, "lost" gets no prediction; while ``gate`` is closed, forward waits."""

    gate: threading.Event = field(default_factory=threading.Event)
    batches: list[list[str]] = field(default_factory=list)
    forward_threads: set[str] = field(default_factory=set)

    def prepare(self, payloads: Sequence[Payload]) -> list[Sample]:
        return [Sample(payload.text) for payload in payloads if isinstance(payload, TextPayload)]

    def forward(self, batch: Sequence[Sample]) -> list[str]:
        assert self.gate.wait(PATIENCE_S)
        self.forward_threads.add(threading.current_thread().name)
        self.batches.append([sample.text for sample in batch])
        if any(sample.text == "bad" for sample in batch):
            raise ValueError("bad sample")
        return [sample.text for sample in batch]

    def read(self, raw: list[str], payloads: Sequence[Payload]) -> list[Prediction]:
        if any(text == "unreadable" for text in raw):
            raise ValueError("unreadable output")
        labels = [text for text in raw if text != "lost"]
        return [Prediction(annotations=(Annotation(id="0", label=t, geometry=WholeItem(), score=1.0),)) for t in labels]


def decode(content: Content) -> Payload:
    text = content.data.decode()
    if text == "broken":
        raise ItemError("invalid_text", "broken")
    return TextPayload(text=text)


@asynccontextmanager
async def engine_over(adapter: Echo, limits: BatchLimits | None = None) -> AsyncIterator[Engine]:
    engine = Engine(adapter, decode=decode, limits=limits or BatchLimits())
    try:
        yield engine
    finally:
        adapter.gate.set()
        await engine.close()


def content(text: str) -> Content:
    return Content(media="text", data=text.encode())


def label(answer: Prediction | BaseException) -> str:
    assert isinstance(answer, Prediction), answer
    return answer.annotations[0].label


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - the engine has no event for every state
            await asyncio.sleep(0.001)


async def ask_all(engine: Engine, texts: Sequence[str]) -> list[Prediction | BaseException]:
    return await asyncio.gather(*(engine.predict(content(text)) for text in texts), return_exceptions=True)


async def test_answers_come_back_to_their_own_items() -> None:
    adapter = Echo()
    adapter.gate.set()
    texts = [f"text {n}" for n in range(50)]

    async with engine_over(adapter, BatchLimits(max_items=7)) as engine:
        answers = await ask_all(engine, texts)

    assert [label(answer) for answer in answers] == texts


async def test_what_arrives_during_a_forward_becomes_one_batch() -> None:
    adapter = Echo()

    async with engine_over(adapter) as engine:
        first = asyncio.create_task(engine.predict(content("first")))
        await until(lambda: engine.batch_sizes.total() == 1)
        rest = asyncio.create_task(ask_all(engine, ["a", "b", "c"]))
        await until(lambda: engine.in_flight == 4 and engine.waiting == 3)
        adapter.gate.set()
        await asyncio.gather(first, rest)

    assert adapter.batches[0] == ["first"]
    assert sorted(adapter.batches[1]) == ["a", "b", "c"]


async def test_a_batch_stays_within_its_cost() -> None:
    adapter = Echo()

    async with engine_over(adapter, BatchLimits(max_items=100, max_cost=10)) as engine:
        asking = asyncio.create_task(ask_all(engine, ["x" * 4] * 12 + ["y" * 30]))
        await until(lambda: engine.in_flight == 13)
        adapter.gate.set()
        await asking

    costs = [sum(map(len, batch)) for batch in adapter.batches]
    assert all(cost <= 10 or len(batch) == 1 for cost, batch in zip(costs, adapter.batches, strict=True))
    assert sum(len(batch) for batch in adapter.batches) == 13


@pytest.mark.parametrize(("culprit", "code"), [("bad", "model_failed"), ("unreadable", "model_failed")])
async def test_an_item_that_fails_in_a_batch_fails_alone(culprit: str, code: str) -> None:
    adapter = Echo()

    async with engine_over(adapter) as engine:
        asking = asyncio.create_task(ask_all(engine, ["a", culprit, "c", "d"]))
        await until(lambda: engine.in_flight == 4)
        adapter.gate.set()
        answers = await asking

    assert [label(answers[n]) for n in (0, 2, 3)] == ["a", "c", "d"]
    assert isinstance(answers[1], ItemError)
    assert answers[1].code == code


async def test_an_item_that_cannot_be_decoded_never_reaches_the_model() -> None:
    adapter = Echo()
    adapter.gate.set()

    async with engine_over(adapter) as engine:
        answers = await ask_all(engine, ["a", "broken"])

    assert isinstance(answers[1], ItemError)
    assert answers[1].code == "invalid_text"
    assert ["broken"] not in adapter.batches


async def test_a_full_queue_sheds() -> None:
    adapter = Echo()

    async with engine_over(adapter, BatchLimits(max_queue=2)) as engine:
        waiting = asyncio.create_task(ask_all(engine, ["a", "b"]))
        await until(lambda: engine.in_flight == 2)
        with pytest.raises(OverloadedError):
            await engine.predict(content("c"))
        adapter.gate.set()
        answers = await waiting

    assert [label(answer) for answer in answers] == ["a", "b"]


async def test_work_of_a_caller_who_left_is_not_done() -> None:
    adapter = Echo()

    async with engine_over(adapter) as engine:
        first = asyncio.create_task(engine.predict(content("first")))
        await until(lambda: engine.batch_sizes.total() == 1)
        left = asyncio.create_task(engine.predict(content("left")))
        stays = asyncio.create_task(engine.predict(content("stays")))
        await until(lambda: engine.waiting == 2)
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        adapter.gate.set()
        await asyncio.gather(first, stays)

    assert adapter.batches == [["first"], ["stays"]]


async def test_more_items_than_prepared_slots_all_get_through() -> None:
    adapter = Echo()
    adapter.gate.set()
    texts = [f"{n}" if n % 5 else "bad" for n in range(60)]

    async with engine_over(adapter, BatchLimits(max_items=2)) as engine:
        answers = await ask_all(engine, texts)

    assert sum(isinstance(answer, ItemError) for answer in answers) == 12
    assert len(adapter.forward_threads) == 1


async def test_health_fails_when_the_loop_has_ended() -> None:
    adapter = Echo()
    adapter.gate.set()
    engine = Engine(adapter, decode=decode, limits=BatchLimits())
    await engine.predict(content("a"))
    engine.check_health()

    await engine.close()

    with pytest.raises(RuntimeError, match="ended"):
        engine.check_health()


async def test_closing_answers_everybody_wherever_their_items_are() -> None:
    adapter = Echo()
    engine = Engine(adapter, decode=decode, limits=BatchLimits(max_items=1))  # two slots for prepared items
    answers = asyncio.gather(*(engine.predict(content(f"{n}")) for n in range(6)), return_exceptions=True)
    await until(lambda: engine.batch_sizes.total() == 1 and engine.waiting == 2)  # the rest wait for a slot

    await engine.close()
    adapter.gate.set()

    async with asyncio.timeout(PATIENCE_S):
        assert {type(answer) for answer in await answers} == {asyncio.CancelledError}
    with pytest.raises(RuntimeError, match="closed"):
        await engine.predict(content("late"))


async def test_predictions_that_are_missing_cost_the_items_they_belong_to_alone() -> None:
    adapter = Echo()

    async with engine_over(adapter) as engine:
        asking = asyncio.create_task(ask_all(engine, ["a", "lost", "c"]))
        await until(lambda: engine.in_flight == 3)
        adapter.gate.set()
        async with asyncio.timeout(PATIENCE_S):
            answers = await asking

    assert [label(answers[n]) for n in (0, 2)] == ["a", "c"]
    assert isinstance(answers[1], ItemError)
    assert answers[1].code == "model_failed"
