"""Checks the engine's promises with an adapter small enough to see through."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import torch

from models.card import BatchLimits
from models.engine import Engine
from models.errors import ItemError, OverloadedError
from models.memory import ResidentMemory
from models.types import Annotation, Content, Payload, Prediction, Priority, TextPayload, WholeItem

PATIENCE_S = 10.0
MIB = 2**20


@dataclass(frozen=True)
class Sample:
    text: str

    @property
    def cost(self) -> float:
        return float(len(self.text))


@dataclass
class Echo:
    """Labels a text with itself; while ``gate`` is closed, forward waits.

    "bad" fails, "too large" finds no memory to be prepared in, "unmovable" no device, "lost" gets no prediction.
    """

    gate: threading.Event = field(default_factory=threading.Event)
    item_s: float = 0.0  # what forward takes for each
    most_items: int | None = None  # of a batch, before the device's memory is full
    fault: str | None = None
    batches: list[list[str]] = field(default_factory=list)
    forward_threads: set[str] = field(default_factory=set)

    def prepare(self, payloads: Sequence[Payload]) -> list[Sample]:
        if any(isinstance(payload, TextPayload) and payload.text == "too large" for payload in payloads):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        if any(isinstance(payload, TextPayload) and payload.text == "unmovable" for payload in payloads):
            raise RuntimeError("CUDA error: uncorrectable ECC error encountered")
        return [Sample(payload.text) for payload in payloads if isinstance(payload, TextPayload)]

    def forward(self, batch: Sequence[Sample]) -> list[str]:
        assert self.gate.wait(PATIENCE_S)
        time.sleep(self.item_s * len(batch))
        self.forward_threads.add(threading.current_thread().name)
        self.batches.append([sample.text for sample in batch])
        if self.most_items is not None and len(batch) > self.most_items:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        if self.fault is not None:
            raise RuntimeError(self.fault)
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


async def ask_all(
    engine: Engine, texts: Sequence[str], *, priority: Priority = "interactive"
) -> list[Prediction | BaseException]:
    asked = (engine.predict(content(text), priority=priority) for text in texts)
    return await asyncio.gather(*asked, return_exceptions=True)


@asynccontextmanager
async def while_busy(engine: Engine, adapter: Echo) -> AsyncIterator[None]:
    """Around what shall arrive during a forward pass; the pass ends with the block."""
    before = engine.stats().items
    first = asyncio.create_task(engine.predict(content("first")))
    await until(lambda: engine.stats().items > before)
    yield
    adapter.gate.set()
    await first


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
        await until(lambda: engine.stats().items >= 1)
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


async def test_an_item_that_cannot_be_decoded_wakes_another_thread_for_the_room_it_leaves() -> None:
    is_decoding, may_fail = threading.Event(), threading.Event()

    def fail_when_told(content: Content) -> Payload:
        is_decoding.set()
        assert may_fail.wait(PATIENCE_S)
        return decode(content)

    engine = Engine(Echo(), decode=fail_when_told, limits=BatchLimits(), cpu_threads=1)
    asking = asyncio.create_task(engine.predict(content("broken")))
    await until(is_decoding.is_set)
    with engine._cpu_work:  # the test waits where another CPU thread would; nothing is noted before it waits
        may_fail.set()
        is_woken = engine._cpu_work.wait(PATIENCE_S)
    answers = await asyncio.gather(asking, return_exceptions=True)
    await engine.close()

    assert isinstance(answers[0], ItemError)
    assert is_woken


async def test_an_item_that_finds_no_memory_to_be_prepared_in_says_so_alone() -> None:
    adapter = Echo()
    adapter.gate.set()

    async with engine_over(adapter) as engine:
        answers = await ask_all(engine, ["a", "too large"])

    assert label(answers[0]) == "a"
    assert isinstance(answers[1], ItemError)
    assert answers[1].code == "out_of_memory"


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
        await until(lambda: engine.stats().items >= 1)
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
    await until(lambda: engine.stats().items >= 1 and engine.waiting == 2)  # the rest wait for a slot

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


async def test_a_batch_that_does_not_fit_into_memory_is_halved_and_later_ones_are_smaller() -> None:
    adapter = Echo(most_items=2)
    texts = [f"{n:04}" for n in range(8)]

    async with engine_over(adapter, BatchLimits(max_items=8)) as engine:
        async with while_busy(engine, adapter):
            asking = asyncio.create_task(ask_all(engine, texts))
            await until(lambda: engine.waiting == 8)
        answers = await asking
        budget = engine.stats().max_cost
        adapter.gate.clear()
        async with while_busy(engine, adapter):
            again = asyncio.create_task(ask_all(engine, texts))
            await until(lambda: engine.in_flight == 9)
        assert [label(answer) for answer in await again] == texts

    assert [label(answer) for answer in answers] == texts
    assert [len(batch) for batch in adapter.batches[:8]] == [1, 8, 4, 2, 2, 4, 2, 2]
    assert budget == 2 * 4
    assert max(len(batch) for batch in adapter.batches[8:]) == 2


async def test_an_item_that_does_not_fit_into_memory_alone_says_so() -> None:
    adapter = Echo(most_items=0)
    adapter.gate.set()

    async with engine_over(adapter) as engine:
        with pytest.raises(ItemError) as failure:
            await engine.predict(content("huge"))
        engine.check_health()

    assert failure.value.code == "out_of_memory"


async def test_a_bad_item_is_found_by_halving() -> None:
    adapter = Echo()

    async with engine_over(adapter, BatchLimits(max_items=64)) as engine:
        async with while_busy(engine, adapter):
            asking = asyncio.create_task(ask_all(engine, [f"{n}" for n in range(63)] + ["bad"]))
            await until(lambda: engine.waiting == 64)
        answers = await asking

    assert sum(isinstance(answer, ItemError) for answer in answers) == 1
    assert len(adapter.batches) == 1 + 13  # one pass of 64, and two for each of six halvings


@pytest.mark.parametrize(
    "words",
    ["CUDA error: an illegal memory access was encountered", "CUDA failed with error unspecified launch failure"],
)
async def test_a_lost_device_fails_everything_at_once_and_is_seen_by_the_health_check(words: str) -> None:
    adapter = Echo()

    async with engine_over(adapter, BatchLimits(max_items=2)) as engine:
        first = asyncio.create_task(engine.predict(content("first")))
        await until(lambda: engine.stats().items == 1)
        waiting = asyncio.create_task(ask_all(engine, ["a", "b", "c", "d", "e"]))
        await until(lambda: engine.in_flight == 6)
        engine.check_health()
        adapter.fault = words
        adapter.gate.set()
        answers = [*await asyncio.gather(first, return_exceptions=True), *await waiting]
        late = await asyncio.gather(engine.predict(content("late")), return_exceptions=True)
        with pytest.raises(RuntimeError, match="device is lost"):
            engine.check_health()

    assert [answer.code for answer in [*answers, *late] if isinstance(answer, ItemError)] == ["device_lost"] * 7
    assert adapter.batches == [["first"]]


async def test_a_device_that_is_lost_while_nothing_is_computed_is_seen_by_the_next_upload() -> None:
    async with engine_over(Echo()) as engine:
        with pytest.raises(ItemError) as failure:
            await engine.predict(content("unmovable"))
        with pytest.raises(RuntimeError, match="device is lost"):
            engine.check_health()

    assert failure.value.code == "device_lost"


async def test_an_error_of_the_model_is_not_taken_for_a_lost_device() -> None:
    adapter = Echo(fault="mat1 and mat2 shapes cannot be multiplied")
    adapter.gate.set()

    async with engine_over(adapter) as engine:
        with pytest.raises(ItemError) as failure:
            await engine.predict(content("a"))
        engine.check_health()

    assert failure.value.code == "model_failed"


async def test_a_forward_pass_that_never_ends_is_seen_by_the_health_check() -> None:
    adapter, now = Echo(), [0.0]
    engine = Engine(adapter, decode=decode, limits=BatchLimits(max_forward_s=30.0), clock=lambda: now[0])
    asking = asyncio.create_task(engine.predict(content("hangs")))
    await until(lambda: engine.stats().items == 1)

    now[0] = 29.0
    engine.check_health()
    now[0] = 31.0
    with pytest.raises(RuntimeError, match="has not ended for 31 s"):
        engine.check_health()

    adapter.gate.set()
    await asking
    engine.check_health()
    await engine.close()


async def test_memory_that_batches_have_freed_goes_back_to_the_system_every_five_seconds() -> None:
    adapter, now, gauge = Echo(), [0.0], ResidentMemory()
    adapter.gate.set()
    engine = Engine(adapter, decode=decode, limits=BatchLimits(), clock=lambda: now[0])
    blocks = [b"x" * 100_000 for _ in range(3_000)]
    full = gauge.in_use()
    kept = blocks[::100]
    blocks.clear()  # what is left keeps the allocator from giving the rest back by itself

    await engine.predict(content("soon after"))
    soon = gauge.in_use()
    now[0] = 5.0
    await engine.predict(content("later"))
    await until(lambda: gauge.in_use() < full - 200 * MIB)
    await engine.close()

    assert soon > full - 100 * MIB
    assert len(kept) == 30


async def test_interactive_items_overtake_bulk_ones_and_share_no_batch_with_them() -> None:
    adapter = Echo()

    async with engine_over(adapter, BatchLimits(max_items=4)) as engine:
        async with while_busy(engine, adapter):
            bulk = asyncio.create_task(ask_all(engine, ["b1", "b2", "b3"], priority="bulk"))
            await until(lambda: engine.waiting == 3)
            urgent = asyncio.create_task(ask_all(engine, ["i1", "i2"]))
            await until(lambda: engine.waiting == 5)
        await asyncio.gather(bulk, urgent)

    assert adapter.batches[:2] == [["first"], ["i1", "i2"]]
    assert [text for batch in adapter.batches[2:] for text in batch] == ["b1", "b2", "b3"]


async def test_bulk_passes_are_short_while_somebody_may_come_who_waits_for_their_end() -> None:
    adapter = Echo(item_s=0.3)

    async with engine_over(adapter, BatchLimits(max_items=4)) as engine:
        alone = asyncio.create_task(ask_all(engine, ["a", "b", "c", "d"], priority="bulk"))
        await until(lambda: engine.stats().items + engine.waiting == 4)
        adapter.gate.set()
        await alone
        passes_alone = len(adapter.batches)
        await engine.predict(content("w"))
        await ask_all(engine, ["e", "f", "g"], priority="bulk")

    assert passes_alone <= 2  # whatever was prepared when the first began, and the rest
    assert adapter.batches[passes_alone:] == [["w"], ["e"], ["f"], ["g"]]


async def test_bulk_items_do_not_starve() -> None:
    adapter = Echo()

    async with engine_over(adapter, BatchLimits(max_items=8)) as engine:
        async with while_busy(engine, adapter):
            bulk = asyncio.create_task(ask_all(engine, ["bulk"] * 2, priority="bulk"))
            urgent = asyncio.create_task(ask_all(engine, ["x" * 8] * 8))
            await until(lambda: engine.waiting == 10)
            engine_takes_one_at_a_time(engine)
        await asyncio.gather(bulk, urgent)

    places = [place for place, batch in enumerate(adapter.batches) if batch == ["bulk"]]
    assert len(places) == 2
    assert places[0] <= 1 + 4  # behind "first" and four interactive ones


def engine_takes_one_at_a_time(engine: Engine) -> None:
    engine._max_cost = 1.0


async def test_a_drop_leaves_room_in_the_queue_for_somebody_who_waits() -> None:
    adapter = Echo()

    async with engine_over(adapter, BatchLimits(max_queue=8)) as engine:
        bulk = asyncio.create_task(ask_all(engine, ["bulk"] * 8, priority="bulk"))
        await until(lambda: engine.in_flight == 6)
        urgent = asyncio.create_task(ask_all(engine, ["a", "b"]))
        await until(lambda: engine.in_flight == 8)
        adapter.gate.set()
        answers = [*await bulk, *await urgent]

    assert sum(isinstance(answer, OverloadedError) for answer in answers) == 2
    assert [label(answer) for answer in answers[8:]] == ["a", "b"]


async def test_content_that_would_fill_the_memory_is_shed() -> None:
    adapter = Echo()

    async with engine_over(adapter, BatchLimits(max_queue_bytes=100)) as engine:
        waiting = asyncio.create_task(ask_all(engine, ["x" * 60]))
        await until(lambda: engine.in_flight == 1)
        with pytest.raises(OverloadedError):
            await engine.predict(content("y" * 60))
        adapter.gate.set()
        await waiting
        assert label(await engine.predict(content("z" * 200))) == "z" * 200  # alone, anything goes


async def test_an_item_whose_deadline_has_passed_is_not_computed() -> None:
    adapter, now = Echo(), [0.0]
    engine = Engine(adapter, decode=decode, limits=BatchLimits(), clock=lambda: now[0])

    async with while_busy(engine, adapter):
        late = asyncio.create_task(engine.predict(content("late"), deadline_s=5.0))
        in_time = asyncio.create_task(engine.predict(content("in time"), deadline_s=50.0))
        await until(lambda: engine.waiting == 2)
        now[0] = 10.0
    answers = await asyncio.gather(late, in_time, return_exceptions=True)
    await engine.close()

    assert isinstance(answers[0], ItemError)
    assert answers[0].code == "timeout"
    assert label(answers[1]) == "in time"
    assert adapter.batches == [["first"], ["in time"]]


async def test_a_caller_who_leaves_frees_the_place() -> None:
    adapter = Echo()

    async with engine_over(adapter, BatchLimits(max_queue=2)) as engine:
        async with while_busy(engine, adapter):
            left = asyncio.create_task(engine.predict(content("left")))
            await until(lambda: engine.in_flight == 2)
            left.cancel()
            await asyncio.gather(left, return_exceptions=True)
            stays = asyncio.create_task(engine.predict(content("stays")))
            await until(lambda: engine.waiting == 1)
        assert label(await stays) == "stays"

    assert adapter.batches == [["first"], ["stays"]]


async def test_only_two_batches_are_prepared_ahead() -> None:
    adapter = Echo()

    async with engine_over(adapter, BatchLimits(max_items=100, max_cost=10)) as engine:
        async with while_busy(engine, adapter):
            asking = asyncio.create_task(ask_all(engine, ["x" * 40_000] * 12))
            await until(lambda: engine.in_flight == 13 and engine.waiting >= 1)
            most = engine.waiting
        await asking

    assert most <= 2  # each is over the budget, and each of two CPU threads may have been on its way with one

    assert len(adapter.batches) == 13


async def test_a_closed_engine_leaves_no_thread() -> None:
    adapter = Echo()
    adapter.gate.set()
    engine = Engine(adapter, decode=decode, limits=BatchLimits())
    await engine.predict(content("a"))
    before = {thread for thread in threading.enumerate() if thread.name.startswith("prelabel-")}

    await engine.close()

    await until(lambda: not any(thread.is_alive() for thread in before))
    assert len(before) >= 3
