"""Checks files, buckets, inline data and what goes for every source."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from fsspec.implementations.memory import MemoryFileSystem

from models.errors import ItemError
from models.types import BoxPrompt, Item, Media, Prompts
from pipelines.fetch import Fetcher, FetchPolicy


async def fetch(item: Item, *, open_filesystem: Any = None, **policy: Any) -> bytes:
    options = {"open_filesystem": open_filesystem} if open_filesystem else {}
    async with Fetcher(FetchPolicy(**policy), **options) as fetcher:
        return (await fetcher.fetch(item)).data


async def refusal(item: Item, **options: Any) -> ItemError:
    with pytest.raises(ItemError) as caught:
        await fetch(item, **options)
    return caught.value


def an_item(uri: str | None = None, media: Media = "image", **source: Any) -> Item:
    return Item(id="a", media=media, uri=uri, **source)


async def test_bytes_and_prompts_pass_through() -> None:
    prompts = Prompts(boxes=(BoxPrompt(xyxy=(0, 0, 1, 1)),))

    async with Fetcher(FetchPolicy()) as fetcher:
        content = await fetcher.fetch(an_item(data=b"abc", prompts=prompts))

    assert (content.media, content.data, content.prompts) == ("image", b"abc", prompts)


async def test_the_time_runs_from_the_moment_when_it_is_an_items_turn() -> None:
    """Twice as many items as are fetched at once: the later ones wait longer than an item may take."""

    limit_s = 4.0

    class Slow(Fetcher):
        async def _read(self, uri: str, item: Item) -> bytes:
            await asyncio.sleep(0.6 * limit_s)
            return b"abc"

    began = asyncio.get_running_loop().time()
    async with Slow(FetchPolicy(total_timeout_s=limit_s)) as fetcher:
        waited = await asyncio.gather(*(fetcher.fetch(an_item("slow")) for _ in range(2 * 64)))

    assert {content.data for content in waited} == {b"abc"}
    assert asyncio.get_running_loop().time() - began > limit_s


async def test_an_item_that_does_not_arrive_in_its_time_says_so() -> None:
    class Never(Fetcher):
        async def _read(self, uri: str, item: Item) -> bytes:
            await asyncio.Event().wait()
            raise AssertionError("nobody sets the event")

    async with Never(FetchPolicy(total_timeout_s=0.05)) as fetcher:
        with pytest.raises(ItemError, match="did not arrive within") as caught:
            await fetcher.fetch(an_item("never"))

    assert caught.value.code == "timeout"


async def test_a_text_becomes_utf_8() -> None:
    assert await fetch(an_item(media="text", text="\ufeff😀 Alice")) == "\ufeff😀 Alice".encode()


async def test_a_lone_surrogate_is_an_invalid_text() -> None:
    error = await refusal(an_item(media="text", text="ab\ud800c"))

    assert error.code == "invalid_text"
    assert "character 2" in error.message


async def test_a_text_for_another_medium_is_wrong_media() -> None:
    assert (await refusal(an_item(media="audio", text="hello"))).code == "wrong_media"


@pytest.mark.parametrize("source", [{}, {"data": b"a", "text": "a"}, {"uri": "/a", "data": b"a"}])
async def test_an_item_has_exactly_one_source(source: dict[str, Any]) -> None:
    error = await refusal(Item(id="a", media="text", **source))

    assert "exactly one of uri, text and data" in error.message


@pytest.mark.parametrize("source", [{"data": b"abcd"}, {"text": "abcd"}, {"uri": "data:,abcd"}])
async def test_the_cap_goes_for_every_source(source: dict[str, Any]) -> None:
    item = Item(id="a", media="text", **source)

    assert (await refusal(item, max_bytes=3)).code == "too_large"
    assert await fetch(item, max_bytes=4) == b"abcd"


@pytest.mark.parametrize(
    "uri",
    [
        "data:image/png;base64,+/+/aGk=",
        "data:image/png;base64,+/+/aGk",
        "data:;base64,-_-_aGk=",
        "DATA:image/png;charset=x;BASE64,%2B/%2B/aGk%3D",
        "data:image/png;base64,+/+/\naGk=",
        "data:image/png,%FB%FF%BFhi",
    ],
)
async def test_inline_data_is_unpacked(uri: str) -> None:
    assert await fetch(an_item(uri)) == b"\xfb\xff\xbfhi"


@pytest.mark.parametrize(
    "uri", ["data:", "data:image/png;base64", "data:;base64,a", "data:;base64,a$bc", "data:;base64,é"]
)
async def test_damaged_inline_data_is_refused(uri: str) -> None:
    assert (await refusal(an_item(uri))).code == "fetch_failed"


async def test_inline_data_of_another_medium_is_wrong_media() -> None:
    assert (await refusal(an_item("data:text/html,<p>hi"))).code == "wrong_media"


async def test_inline_data_is_measured_before_it_is_unpacked() -> None:
    uri = "data:;base64," + base64.b64encode(bytes(1000)).decode()

    assert (await refusal(an_item(uri), max_bytes=100)).code == "too_large"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder that is open, with a file in it, beside a file that is not."""
    (tmp_path / "outside.txt").write_bytes(b"secret")
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "ä b#1.png").write_bytes(b"abc")
    return root


async def test_a_file_is_read_by_path_relative_path_and_uri(root: Path) -> None:
    path = root / "sub" / "ä b#1.png"

    for uri in (
        str(path),
        "sub/ä b#1.png",
        "sub/../sub/ä b#1.png",
        path.as_uri(),
        f"file://localhost{path.as_uri()[7:]}",
    ):
        assert await fetch(an_item(uri), roots=(root,)) == b"abc", uri


async def test_a_relative_path_is_looked_for_under_each_root(root: Path, tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()

    assert await fetch(an_item("sub/ä b#1.png"), roots=(tmp_path / "first", root)) == b"abc"


async def test_a_root_may_be_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)

    assert await fetch(an_item("sub/ä b#1.png"), roots=(tmp_path / "link",)) == b"abc"


async def test_a_link_within_the_root_is_followed(root: Path) -> None:
    (root / "link.png").symlink_to(root / "sub" / "ä b#1.png")

    assert await fetch(an_item("link.png"), roots=(root,)) == b"abc"


@pytest.mark.parametrize(
    "uri",
    ["../outside.txt", "{root}/../outside.txt", "{root}-else/x", "/etc/passwd", "file:///etc/passwd", "escape.txt",
     "escape/outside.txt", "sub/../../outside.txt", "../no such file", "file:///{root}/%2e%2e/outside.txt",
     "file://host/etc/passwd", "file:///x?y", "/proc/self/environ"],
)  # fmt: skip
async def test_no_path_leads_out_of_the_root(uri: str, root: Path) -> None:
    (root / "escape.txt").symlink_to(root.parent / "outside.txt")
    (root / "escape").symlink_to(root.parent)

    error = await refusal(an_item(uri.format(root=root)), roots=(root,))

    assert error.code == "blocked_url"
    assert "secret" not in error.message


@pytest.mark.parametrize("uri", ["missing.png", "sub/missing.png", "sub/ä b#1.png/x", "a" * 5000, "loop"])
async def test_a_missing_file_is_not_found(uri: str, root: Path) -> None:
    (root / "loop").symlink_to(root / "loop")

    assert (await refusal(an_item(uri), roots=(root,))).code in ("not_found", "fetch_failed")


@pytest.mark.parametrize("uri", ["sub", ".", "pipe", "socket\0.png"])
async def test_only_regular_files_are_read(uri: str, root: Path) -> None:
    os.mkfifo(root / "pipe")

    assert (await refusal(an_item(uri), roots=(root,))).code == "fetch_failed"


async def test_a_file_over_the_cap_is_refused_by_its_size(root: Path) -> None:
    with (root / "sparse.bin").open("wb") as file:
        file.truncate(10**12)

    assert (await refusal(an_item("sparse.bin"), roots=(root,))).code == "too_large"


async def test_what_has_no_bytes_is_empty(root: Path, store: MemoryFileSystem) -> None:
    (root / "empty.png").touch()
    store.pipe_file("drops/empty.png", b"")

    for uri in ("empty.png", "s3://drops/empty.png", "data:image/png;base64,", "data:,"):
        error = await refusal(
            an_item(uri), roots=(root,), open_filesystem=lambda _: store, allowed_buckets=("s3://drops",)
        )
        assert error.code == "empty", uri


async def test_an_empty_text_that_is_given_as_such_is_a_text() -> None:
    assert await fetch(an_item(media="text", text="")) == b""


async def test_without_roots_files_are_closed(root: Path) -> None:
    error = await refusal(an_item(str(root / "sub" / "ä b#1.png")))

    assert error.code == "blocked_url"
    assert "fetch.roots" in error.message


@pytest_asyncio.fixture
async def store() -> AsyncIterator[MemoryFileSystem]:
    """An object store in memory with one object."""
    store = MemoryFileSystem()
    store.pipe_file("drops/in/a%b.png", b"abc")
    yield store
    store.store.clear()


async def test_an_object_under_an_allowed_prefix_is_read(store: MemoryFileSystem) -> None:
    for scheme in ("s3", "gs", "az", "S3"):
        prefixes = (f"{scheme.lower()}://drops/in/",)
        item = an_item(f"{scheme}://drops/in/a%b.png")
        assert await fetch(item, open_filesystem=lambda _: store, allowed_buckets=prefixes) == b"abc"


@pytest.mark.parametrize(
    "uri",
    ["s3://drops/in", "s3://drops/inside/a", "s3://drops/out/a", "s3://drops/in/../out/a", "s3://drops//in/a", "gs://drops/in/a",
     "s3://drops/in/a?versionId=1", "s3://drops/in/a#b", "s3://drops/in/", "s3:drops/in/a", "s3:///drops/in/a"],
)  # fmt: skip
async def test_an_object_elsewhere_opens_no_store(uri: str) -> None:
    def open_filesystem(scheme: str) -> Any:
        raise AssertionError(f"opened {scheme}")

    error = await refusal(an_item(uri), open_filesystem=open_filesystem, allowed_buckets=("s3://drops/in",))

    assert error.code == "blocked_url"


async def test_a_missing_object_is_not_found(store: MemoryFileSystem) -> None:
    error = await refusal(an_item("s3://drops/x"), open_filesystem=lambda _: store, allowed_buckets=("s3://drops",))

    assert error.code == "not_found"


async def test_an_object_over_the_cap_is_refused(store: MemoryFileSystem) -> None:
    item = an_item("s3://drops/in/a%b.png")

    error = await refusal(item, open_filesystem=lambda _: store, allowed_buckets=("s3://drops",), max_bytes=2)

    assert error.code == "too_large"


async def test_an_object_that_is_shorter_than_stated_has_changed(store: MemoryFileSystem) -> None:
    class Late(MemoryFileSystem):
        """Another writer replaces the object between the two requests of a read."""

        def info(self, path: str, **options: Any) -> dict[str, Any]:
            stated = super().info(path, **options)
            self.pipe_file(path, b"ab")
            return stated

    error = await refusal(
        an_item("s3://drops/in/a%b.png"), open_filesystem=lambda _: Late(), allowed_buckets=("s3://drops",)
    )

    assert error.code == "changed"


async def test_a_missing_library_is_named_with_the_way_to_install_it() -> None:
    def open_filesystem(scheme: str) -> Any:
        raise ImportError("Install s3fs to access S3")

    error = await refusal(an_item("s3://drops/a"), open_filesystem=open_filesystem, allowed_buckets=("s3://drops",))

    assert error.code == "fetch_failed"
    assert "pip install 'prelabel[s3]'" in error.message


async def test_a_failing_store_leaks_nothing() -> None:
    def open_filesystem(scheme: str) -> Any:
        raise RuntimeError("key AKIA s3cr3t")

    error = await refusal(an_item("s3://drops/a"), open_filesystem=open_filesystem, allowed_buckets=("s3://drops",))

    assert error.code == "unreachable"
    assert "s3cr3t" not in error.message
