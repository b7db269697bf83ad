"""Checks that items asked for at the same moment travel together, and that each gets its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from models.errors import ItemError, OverloadedError
from models.types import Content, Prediction
from serving.bundles import Answer, Asked, Bundles

PATIENCE_S = 10.0


@dataclass
class Line:
    """Answers each text with its length once the gate is open; remembers its calls."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    calls: list[list[str]] = field(default_factory=list)
    error: Exception | None = None
    cancelled: int = 0

    async def send(self, asked: Sequence[Asked]) -> Sequence[Answer]:
        texts = [one.content.data.decode() for one in asked]
        self.calls.append(texts)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return [ItemError("model_failed", "bad") if text == "bad" else length(text) for text in texts]


def length(text: str) -> Prediction:
    return Prediction(signals={"length": float(len(text))})


def asked(text: str) -> Asked:
    return Asked(content=Content(media="text", data=text.encode()), priority="interactive", deadline_s=None)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - there is no event for "it was sent"
            await asyncio.sleep(0)


async def test_what_is_asked_at_once_is_one_call_and_each_gets_its_own_answer() -> None:
    line = Line()
    line.gate.set()
    bundles = Bundles(line.send, most_items=16)

    answers = await asyncio.gather(*(bundles.ask(asked(text)) for text in ("a", "bad", "ccc")))

    assert line.calls == [["a", "bad", "ccc"]]
    assert answers[0] == length("a")
    assert isinstance(answers[1], ItemError)
    assert answers[2] == length("ccc")


async def test_a_call_is_not_held_back_for_what_comes_later() -> None:
    line = Line()
    bundles = Bundles(line.send, most_items=16)
    first = asyncio.create_task(bundles.ask(asked("first")))
    await until(lambda: line.calls == [["first"]])

    second = asyncio.create_task(bundles.ask(asked("second")))
    await until(lambda: line.calls == [["first"], ["second"]])
    line.gate.set()

    assert await asyncio.gather(first, second) == [length("first"), length("second")]


async def test_calls_are_bounded_in_items_and_bytes() -> None:
    line = Line()
    line.gate.set()
    bundles = Bundles(line.send, most_items=3)
    large = "x" * 200_000

    await asyncio.gather(*(bundles.ask(asked(text)) for text in ("a", "b", "c", "d", large, large, "e")))

    assert line.calls == [["a", "b", "c"], ["d", large], [large, "e"]]


async def test_one_who_leaves_costs_the_others_nothing() -> None:
    line = Line()
    bundles = Bundles(line.send, most_items=16)
    leaves, stays = (asyncio.create_task(bundles.ask(asked(text))) for text in ("leaves", "stays"))
    await until(lambda: bool(line.calls))

    leaves.cancel()
    await asyncio.gather(leaves, return_exceptions=True)
    line.gate.set()

    assert await stays == length("stays")
    assert line.cancelled == 0


async def test_when_all_have_left_the_call_is_cancelled() -> None:
    line = Line()
    bundles = Bundles(line.send, most_items=16)
    both = [asyncio.create_task(bundles.ask(asked(text))) for text in ("a", "b")]
    await until(lambda: bool(line.calls))

    for task in both:
        task.cancel()
    await asyncio.gather(*both, return_exceptions=True)

    await until(lambda: line.cancelled == 1)


async def test_who_leaves_before_the_call_is_made_is_not_sent_alone() -> None:
    line = Line()
    bundles = Bundles(line.send, most_items=16)
    leaves = asyncio.create_task(bundles.ask(asked("leaves")))
    await asyncio.sleep(0)

    leaves.cancel()
    await asyncio.gather(leaves, return_exceptions=True)
    line.gate.set()

    assert await bundles.ask(asked("next")) == length("next")
    assert line.calls == [["next"]]


async def test_a_failed_call_fails_each_of_its_items() -> None:
    line = Line(error=OverloadedError())
    line.gate.set()
    bundles = Bundles(line.send, most_items=16)

    answers = await asyncio.gather(*(bundles.ask(asked(text)) for text in ("a", "b")))
    line.error = ValueError("unforeseen")
    unforeseen = await bundles.ask(asked("c"))

    assert [answer.code for answer in answers if isinstance(answer, OverloadedError)] == ["overloaded"] * 2
    assert isinstance(unforeseen, ItemError)
    assert unforeseen.code == "model_failed"
