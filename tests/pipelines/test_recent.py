"""Tests that equal contents of a run are found, in memory and in the store."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import replace

import pytest

from pipelines.errors import StoreUnavailableError
from pipelines.recent import Recent
from pipelines.store.drops import Drops
from pipelines.store.store import Store
from pipelines.types import PreLabel
from tests.pipelines.builders import a_labelled, a_pre_label


def of_digest(digest: str) -> PreLabel:
    pre_label = a_pre_label()
    return replace(pre_label, provenance=replace(pre_label.provenance, item_digest=digest))


async def test_what_was_just_made_is_found_without_asking_the_store() -> None:
    async def fail(digests: Collection[str]) -> Mapping[str, PreLabel]:
        raise AssertionError("asked the store")

    recent = Recent(fail)
    recent.add(of_digest("aa"))

    assert await recent.find("aa") == of_digest("aa")


async def test_questions_that_come_while_one_runs_are_one_question() -> None:
    asked = list[set[str]]()

    async def stored(digests: Collection[str]) -> Mapping[str, PreLabel]:
        asked.append(set(digests))
        await asyncio.sleep(0)
        return {digest: of_digest(digest) for digest in digests if digest != "unknown"}

    recent = Recent(stored)
    found = await asyncio.gather(*map(recent.find, ("a", "b", "a", "unknown")))

    assert found == [of_digest("a"), of_digest("b"), of_digest("a"), None]
    assert sum(map(len, asked)) == 3


async def test_a_store_that_does_not_answer_knows_nothing_and_another_fault_is_told() -> None:
    async def away(digests: Collection[str]) -> Mapping[str, PreLabel]:
        raise StoreUnavailableError

    async def broken(digests: Collection[str]) -> Mapping[str, PreLabel]:
        raise RuntimeError("broken")

    assert await Recent(away).find("a") is None
    with pytest.raises(RuntimeError, match="broken"):
        await Recent(broken).find("a")


async def test_the_store_finds_a_pre_label_of_the_same_run_by_its_content(store: Store, run_id: str) -> None:
    other_run = await store.start_run("another")
    labelled = a_labelled("one", pre_label=of_digest("aa"))
    await store.save([labelled, a_labelled("two", pre_label=of_digest("aa"))], run_id=run_id)

    assert await Drops(store).known(run_id, ["aa", "bb"]) == {"aa": labelled.pre_label}
    assert await Drops(store).known(other_run, ["aa"]) == {}
