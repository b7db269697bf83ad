"""Checks what becomes of files that are empty, gone, or not left alone while they are read."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from models.errors import ItemError
from models.types import Item
from pipelines.fetch import Fetcher, FetchPolicy
from pipelines.fetch.files import path_of, read, uri_of

_LONG = 50_000_000  # bytes: reading it takes long enough for another thread to come in between
_ATTEMPTS = 20


@contextmanager
def meanwhile(act: Callable[[], None]) -> Iterator[None]:
    """Do something over and over in another thread."""
    stop = threading.Event()

    def repeat() -> None:
        while not stop.is_set():
            act()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def codes(path: Path) -> set[str]:
    """What reading a file says, over some attempts, each of which the other thread may miss."""
    found = set[str]()
    for _ in range(_ATTEMPTS):
        try:
            read(str(path), FetchPolicy(roots=(path.parent,), max_bytes=2 * _LONG))
        except ItemError as err:
            found.add(err.code)
    return found


def test_a_file_that_grows_while_it_is_read_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "growing.bin"
    path.write_bytes(bytes(_LONG))
    writer = path.open("ab", buffering=0)

    with writer, meanwhile(lambda: (writer.write(b"x"), None)[1]):
        found = codes(path)

    assert path.stat().st_size > _LONG
    assert found == {"changed"}


def test_a_file_that_is_cut_while_it_is_read_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "cut.bin"
    path.write_bytes(bytes(_LONG))

    def cut_and_restore() -> None:
        os.truncate(path, _LONG // 2)
        os.truncate(path, _LONG)

    with meanwhile(cut_and_restore):
        assert codes(path) == {"changed"}


def test_a_file_that_is_replaced_while_it_is_read_has_changed(tmp_path: Path) -> None:
    path, other = tmp_path / "replaced.bin", tmp_path / "other.bin"
    path.write_bytes(bytes(_LONG))
    status, replaced = path.stat(), [0]

    def replace() -> None:
        with other.open("wb") as file:
            file.truncate(_LONG)
        os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
        other.replace(path)
        replaced[0] += 1

    with meanwhile(replace):
        found = codes(path)

    assert replaced[0] > 0
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (_LONG, status.st_mtime_ns)
    assert found == {"changed"}


def test_a_file_that_goes_while_it_is_read_has_changed_or_is_gone(tmp_path: Path) -> None:
    path, kept = tmp_path / "going.bin", tmp_path / "kept.bin"
    kept.write_bytes(bytes(_LONG))

    def come_and_go() -> None:
        path.hardlink_to(kept)
        path.unlink()

    with meanwhile(come_and_go):
        found = codes(path)

    assert found
    assert found <= {"changed", "not_found"}


def test_a_file_that_is_left_alone_is_read(tmp_path: Path) -> None:
    path = tmp_path / "still.bin"
    path.write_bytes(bytes(_LONG))

    assert codes(path) == set()


async def test_a_listed_file_that_is_gone_is_not_found(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"Alice")
    item = Item(id="a", media="text", uri=str(path))
    path.unlink()

    async with Fetcher(FetchPolicy(roots=(tmp_path,))) as fetcher:
        with pytest.raises(ItemError) as caught:
            await fetcher.fetch(item)

    assert caught.value.code == "not_found"


@pytest.mark.parametrize("name", ["a.txt", "a b#c?.txt", "ä.txt", os.fsdecode(b"\xff%41.txt"), "line\nend.txt"])
def test_a_paths_uri_names_it_in_utf_8(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"Alice")

    uri = uri_of(str(path))

    assert uri.encode().decode() == uri
    assert path_of(uri) == path
    assert read(uri, FetchPolicy(roots=(tmp_path,))) == b"Alice"


def test_refusing_a_folder_leaves_nothing_open(tmp_path: Path) -> None:
    before = len([*Path("/proc/self/fd").iterdir()])

    for _ in range(10):
        with pytest.raises(ItemError, match="is a folder"):
            read(str(tmp_path), FetchPolicy(roots=(tmp_path,)))

    assert len([*Path("/proc/self/fd").iterdir()]) == before
