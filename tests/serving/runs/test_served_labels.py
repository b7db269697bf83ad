"""Tests that full queues, dying replicas and stopped models cost a run's items as little as they can."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from models.errors import ModelError
from models.types import Item
from pipelines.prelabel import Request
from pipelines.types import Failed, Outcome
from serving.runs.served_labels import Examination, ServedLabels
from tests.pipelines.builders import a_failed, a_labelled, an_item


@dataclass
class Replica:
    """Labels what it is given all together; what kills it takes all that it has in hand along."""

    code_of: Callable[[str, int], str | None] = lambda item_id, times: None
    killers: frozenset[str] = frozenset()
    at_once: int = 8
    times: Counter[str] = field(default_factory=Counter)
    in_hand: set[str] = field(default_factory=set)
    deaths: int = 0
    most_in_hand_after_death: int = 0

    async def label(self, request: Request) -> Outcome:
        item = request.item
        self.times[item.id] += 1
        self.in_hand.add(item.id)
        if self.deaths:
            self.most_in_hand_after_death = max(self.most_in_hand_after_death, len(self.in_hand))
        life = self.deaths
        await asyncio.sleep(0)  # the others are in hand by now
        if item.id in self.killers and life == self.deaths:
            self.deaths += 1
            self.in_hand.clear()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self.in_hand.discard(item.id)
        if life != self.deaths:
            return failed(item, "worker_lost")
        code = self.code_of(item.id, self.times[item.id])
        return a_labelled(item=item, task="ner") if code is None else failed(item, code)


def failed(item: Item, code: str) -> Failed:
    return a_failed(code=code, task="ner", item=item)


async def label(replica: Replica, *item_ids: str) -> dict[str, str]:
    """What became of each item: its failure's code, or "labels"."""
    labels = ServedLabels(replica, Examination())
    items = [an_item(item_id, text=item_id) for item_id in item_ids]
    outcomes = await asyncio.gather(*(labels.label(Request(item=item, task="ner")) for item in items))
    codes = (outcome.failure.code if isinstance(outcome, Failed) else "labels" for outcome in outcomes)
    return dict(zip(item_ids, codes, strict=True))


async def test_a_full_queue_is_waited_for() -> None:
    replica = Replica(code_of=lambda item_id, times: "overloaded" if times < 3 else None)

    assert await label(replica, "a") == {"a": "labels"}
    assert replica.times["a"] == 3


async def test_the_item_that_kills_replicas_fails_alone_and_costs_two() -> None:
    replica = Replica(killers=frozenset("d"))

    found = await label(replica, *"abcdefg")

    assert found == {name: "model_failed" if name == "d" else "labels" for name in "abcdefg"}
    assert (replica.deaths, replica.times["d"]) == (2, 2)
    assert replica.most_in_hand_after_death == 1


async def test_a_replica_that_dies_by_itself_costs_nothing() -> None:
    replica = Replica(code_of=lambda item_id, times: "worker_lost" if times == 1 else None)

    assert await label(replica, "a", "b") == {"a": "labels", "b": "labels"}


async def test_other_failures_are_left_to_the_run() -> None:
    replica = Replica(code_of=lambda item_id, times: "timeout")

    assert await label(replica, "a") == {"a": "timeout"}
    assert replica.times["a"] == 1


async def test_a_stopped_model_ends_the_run() -> None:
    with pytest.raises(ModelError, match="a message"):
        await label(Replica(code_of=lambda item_id, times: "model_stopped"), "a")


async def test_another_runs_killer_costs_no_item_of_this_one() -> None:
    replica, examination = Replica(killers=frozenset({"poison"})), Examination()
    runs = {name: ServedLabels(replica, examination) for name in ("a", "b")}
    items = {"a": ["poison", "a1", "a2"], "b": ["b1", "b2", "b3"]}

    outcomes = await asyncio.gather(
        *(
            runs[name].label(Request(item=an_item(item_id, text=item_id), task="ner"))
            for name, item_ids in items.items()
            for item_id in item_ids
        )
    )

    assert replica.deaths == 2
    failures = {one.item.id: one.failure.code for one in outcomes if isinstance(one, Failed)}
    assert failures == {"poison": "model_failed"}
