"""Tests that waiting calls are written together, that each fails alone, and that none is lost or stored in secret."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from models.errors import OverloadedError
from pipelines.errors import StoreUnavailableError
from pipelines.store.groups import Groups


@dataclass
class Shelf:
    """Keeps what is written, one group at a time and only when it is let; refuses bad work."""

    let: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    begun: list[list[str]] = field(default_factory=list)
    kept: list[list[str]] = field(default_factory=list)
    is_away: bool = False
    change: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def write(self, works: Sequence[str]) -> None:
        async with self.change:
            self.begun.append(list(works))
            self.change.notify_all()
        await self.let.acquire()
        if self.is_away:
            raise StoreUnavailableError
        if "bad" in works:
            raise ValueError("it is bad")
        self.kept.append(list(works))

    def open(self) -> None:
        for _ in range(100):
            self.let.release()


def start(groups: Groups[str], *works: str, **options: float) -> list[asyncio.Task[None]]:
    given = {"rows": 1, "size_bytes": 1, "begin_by": None} | options
    return [asyncio.create_task(groups.save(work, **given)) for work in works]  # pyright: ignore[reportArgumentType]


async def begun(shelf: Shelf, count: int) -> None:
    async with asyncio.timeout(100), shelf.change:
        await shelf.change.wait_for(lambda: len(shelf.begun) >= count)


async def test_a_call_that_comes_alone_is_written_at_once_and_later_ones_together() -> None:
    shelf = Shelf()
    groups = Groups(shelf.write)

    first = start(groups, "a")
    await begun(shelf, 1)
    later = start(groups, "b", "c", "d")
    shelf.open()
    await asyncio.gather(*first, *later)

    assert shelf.kept == [["a"], ["b", "c", "d"]]


@pytest.mark.parametrize("options", [{"rows": 60}, {"size_bytes": 2_000_000}])
async def test_a_group_is_bounded_in_rows_and_in_bytes(options: dict[str, float]) -> None:
    shelf = Shelf()
    groups = Groups(shelf.write)

    calls = start(groups, "a", "b", "c", "d", "e", **options)
    shelf.open()
    await asyncio.gather(*calls)

    assert shelf.kept == [["a", "b"], ["c", "d"], ["e"]]


@pytest.mark.parametrize("options", [{"rows": 1_000}, {"size_bytes": 2**30}])
async def test_a_call_above_the_bounds_is_a_group_of_its_own(options: dict[str, float]) -> None:
    shelf = Shelf()
    groups = Groups(shelf.write)

    calls = start(groups, "a", "b", **options)
    shelf.open()
    await asyncio.gather(*calls)

    assert shelf.kept == [["a"], ["b"]]


async def test_a_bad_call_fails_alone() -> None:
    shelf = Shelf()
    groups = Groups(shelf.write)

    calls = start(groups, "a", "bad", "c")
    shelf.open()
    answers = await asyncio.gather(*calls, return_exceptions=True)

    assert shelf.begun == [["a", "bad", "c"], ["a"], ["bad"], ["c"]]
    assert shelf.kept == [["a"], ["c"]]
    assert [type(answer) for answer in answers] == [type(None), ValueError, type(None)]


async def test_a_store_that_is_away_fails_the_whole_group_and_none_is_tried_again() -> None:
    shelf = Shelf(is_away=True)
    groups = Groups(shelf.write)

    calls = start(groups, "a", "b", "c")
    shelf.open()
    answers = await asyncio.gather(*calls, return_exceptions=True)

    assert [type(answer) for answer in answers] == [StoreUnavailableError] * 3
    assert shelf.begun == [["a", "b", "c"]]


async def test_a_store_that_goes_away_after_a_bad_group_fails_the_rest() -> None:
    shelf = Shelf()
    groups = Groups(shelf.write)

    calls = start(groups, "a", "bad", "c")
    await begun(shelf, 1)
    shelf.let.release()
    await begun(shelf, 2)
    shelf.is_away = True
    shelf.open()
    answers = await asyncio.gather(*calls, return_exceptions=True)

    assert [type(answer) for answer in answers] == [StoreUnavailableError] * 3
    assert shelf.begun == [["a", "bad", "c"], ["a"]]


async def test_a_caller_that_leaves_while_it_waits_has_nothing_stored() -> None:
    shelf = Shelf()
    groups = Groups(shelf.write)
    first = start(groups, "a")
    await begun(shelf, 1)

    left, stays = start(groups, "b", "c")
    await asyncio.sleep(0)  # both wait
    left.cancel()
    await asyncio.wait([left])
    shelf.open()
    await asyncio.gather(*first, stays)

    assert left.cancelled()
    assert shelf.kept == [["a"], ["c"]]


async def test_a_caller_that_leaves_in_the_moment_before_its_turn_has_nothing_stored() -> None:
    kept = list[Sequence[str]]()

    async def write(works: Sequence[str]) -> None:
        kept.append(works)
        left.cancel()  # the next group is taken before the caller can do anything

    groups = Groups(write)
    first, left = start(groups, "a", "b", rows=128)
    await asyncio.wait([first, left])

    assert left.cancelled()
    assert kept == [["a"]]


async def test_a_caller_that_leaves_a_group_that_has_begun_takes_nothing_from_its_neighbours() -> None:
    shelf = Shelf()
    groups = Groups(shelf.write)
    left, stays = start(groups, "a", "b")
    await begun(shelf, 1)

    left.cancel()
    await asyncio.wait([left])
    shelf.open()
    await stays

    assert left.cancelled()
    assert shelf.kept == [["a", "b"]]


async def test_a_call_whose_turn_comes_too_late_is_refused_and_not_stored() -> None:
    shelf = Shelf()
    groups = Groups(shelf.write)
    now = asyncio.get_running_loop().time()
    first = start(groups, "a", begin_by=now)
    await begun(shelf, 1)

    [late] = start(groups, "b", begin_by=now)
    with pytest.raises(OverloadedError, match="nothing is stored"):
        await late
    shelf.open()
    await asyncio.gather(*first)  # it had begun in time, and is waited for

    assert shelf.kept == [["a"]]


@pytest.mark.parametrize(("count", "options"), [(1_024, {}), (8, {"size_bytes": 4 * 2**20})])
async def test_more_than_some_groups_waiting_is_refused_until_it_is_written(
    count: int, options: dict[str, float]
) -> None:
    shelf = Shelf()
    groups = Groups(shelf.write)
    first = start(groups, "first", size_bytes=2**30)
    await begun(shelf, 1)
    groups.check_room()  # what is being written does not wait

    waiting = start(groups, *map(str, range(count)), **options)
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError, match=f"{count} calls wait"):
        groups.check_room()
    shelf.open()
    await asyncio.gather(*first, *waiting)

    groups.check_room()


async def test_closing_writes_what_waits_and_takes_no_more() -> None:
    shelf = Shelf()
    groups = Groups(shelf.write)
    calls = start(groups, "a")
    await begun(shelf, 1)
    calls += start(groups, "b", "c")
    await asyncio.sleep(0)

    closing = asyncio.create_task(groups.close())
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailableError, match="closed"):
        await groups.save("d", rows=1, size_bytes=1, begin_by=None)
    shelf.open()
    await asyncio.gather(closing, *calls)

    assert shelf.kept == [["a"], ["b", "c"]]


async def test_closing_over_a_database_that_hangs_tells_every_caller() -> None:
    shelf = Shelf()
    groups = Groups(shelf.write, close_s=0.01)
    calls = start(groups, "a")
    await begun(shelf, 1)
    calls += start(groups, "b")
    await asyncio.sleep(0)

    await groups.close()
    answers = await asyncio.gather(*calls, return_exceptions=True)

    assert [type(answer) for answer in answers] == [StoreUnavailableError] * 2
    assert shelf.kept == []


async def test_a_database_that_hangs_is_given_up() -> None:
    shelf = Shelf()
    groups = Groups(shelf.write, write_s=0.01)

    answers = await asyncio.gather(*start(groups, "a", "b"), return_exceptions=True)

    assert [type(answer) for answer in answers] == [StoreUnavailableError] * 2
    assert shelf.begun == [["a", "b"]]
