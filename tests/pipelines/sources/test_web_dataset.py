"""Checks that samples of tar archives are listed and read in place, and that hostile archives do no harm."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import subprocess
import tarfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import ConfigError, ItemError
from models.types import Item
from pipelines.fetch import Fetcher, FetchPolicy
from pipelines.sources import Columns, open_source
from pipelines.types import Failed
from tests.pipelines.formats.readers import Reader, reader
from tests.pipelines.sources.builders import fault, ids, items, opened

Members = list[tuple[str | tarfile.TarInfo, bytes]]


def a_tar(*members: tuple[str | tarfile.TarInfo, bytes], **options: Any) -> bytes:
    """The bytes of an archive."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", **options) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            info.size = len(content) if info.isreg() else info.size
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def stored(folder: Path, content: bytes, name: str = "shard.tar") -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def by_program(folder: Path, *arguments: str) -> Path:
    """An archive of the folder's files by the system's tar."""
    program = shutil.which("tar")
    assert program
    subprocess.run([program, *arguments], cwd=folder, check=True)
    return folder / "shard.tar"


def a_header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, **fields: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    for field, value in fields.items():
        setattr(info, field, value)
    return info


async def fetched(item: Item, root: Path, **policy: Any) -> bytes:
    async with Fetcher(FetchPolicy(roots=(root,), **policy)) as fetcher:
        return (await fetcher.fetch(item)).data


async def refusal(item: Item, root: Path, **policy: Any) -> ItemError:
    with pytest.raises(ItemError) as caught:
        await fetched(item, root, **policy)
    return caught.value


async def test_a_sample_is_an_item_with_what_stands_beside_it_as_meta(tmp_path: Path) -> None:
    described = json.dumps({"camera": "north", "n": 3, "ok": True, "nested": {"a": 1}, "none": None}).encode()
    shard = stored(
        tmp_path,
        a_tar(
            ("a/1.jpg", b"one"), ("a/1.json", described), ("a/1.txt", "é caption\n".encode()), ("a/1.cls", b"7"),
            ("a/2.PNG", b"two"), ("a/2.seg.png", b"mask"),
        ),
    )  # fmt: skip

    first, second = items(opened(shard))

    assert (first.id, second.id) == ("a/1", "a/2")
    assert first.meta == {"camera": "north", "n": "3", "ok": "true", "txt": "é caption", "cls": "7"}
    assert [await fetched(item, tmp_path) for item in (first, second)] == [b"one", b"two"]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("a.jpg", "a"),
        ("./a.jpg", "./a"),
        ("x.y/a.b.jpg", "x.y/a"),
        ("/abs/a.jpg", "/abs/a"),
        ("../../etc/a.jpg", "../../etc/a"),
        ("ä b%41#?&.jpg", "ä b%41#?&"),
        ("n" * 300 + ".jpg", "n" * 300),
        ("line\nend.jpg", "line\nend"),
        (os.fsdecode(b"\xff.jpg"), os.fsdecode(b"\xff")),
    ],
)
@pytest.mark.parametrize("layout", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
async def test_the_key_is_the_name_up_to_the_first_dot_of_its_last_part(
    name: str, key: str, layout: int, tmp_path: Path
) -> None:
    if layout == tarfile.USTAR_FORMAT:
        name, key = name[-100:], key[-96:]  # as much as the layout holds
    shard = stored(tmp_path, a_tar((name, b"content"), ("b.jpg", b"other"), format=layout))

    first, second = items(opened(shard))

    assert (first.id, second.id) == (key, "b")
    assert first.uri
    assert first.uri.encode()
    assert await fetched(first, tmp_path) == b"content"


async def test_a_text_is_the_item_itself_where_texts_are_labelled(tmp_path: Path) -> None:
    shard = stored(tmp_path, a_tar(("1.txt", b"Alice"), ("1.json", b'{"source": "mail"}'), ("1.jpg", b"x")))

    [item] = items(opened(shard, "ner"))

    assert (item.media, item.meta) == ("text", {"source": "mail"})
    assert await fetched(item, tmp_path) == b"Alice"


async def test_what_is_labelled_can_be_named(tmp_path: Path) -> None:
    shard = stored(tmp_path, a_tar(("1.left.png", b"l"), ("1.right.png", b"r"), ("1.jpg", b"j"), ("2.jpg", b"j")))

    first, second = opened(shard, columns=Columns(uri="Right.png")).entries()

    assert isinstance(first, Item)
    assert await fetched(first, tmp_path) == b"r"
    assert isinstance(second, Failed)
    assert "wanted .right.png" in second.failure.message


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ([("1.jpg", b"a"), ("1.png", b"b")], "exactly one of image; name the one"),
        ([("1.left.png", b"a"), ("1.right.png", b"b")], "exactly one of image; name the one"),
        ([("1.json", b"{}")], "has .json, wanted one of image"),
        ([("1.jpg", b"a"), ("1.jpg", b"b")], "several members .jpg"),
        ([("1.jpg", b"a"), ("1.JPG", b"b")], "several members .jpg"),
        ([("1.jpg", b"a"), ("1.json", b"{")], ".json cannot be read"),
        ([("1.jpg", b"a"), ("1.txt", b"\xff")], ".txt cannot be read"),
        ([("1.jpg", b"a"), ("1.txt", bytes(2**20 + 1))], "more than 1048576 bytes"),
        ([("1.jpg", b"a"), *((f"1.{n}", b"") for n in range(200))], "more than 100 members"),
        ([(a_header("1.jpg", kind=tarfile.SYMTYPE, linkname="/etc/passwd"), b"")], "a link"),
        ([(a_header("1.jpg", kind=tarfile.LNKTYPE, linkname="2.jpg"), b"")], "a link"),
        ([(a_header("1.jpg", kind=tarfile.CHRTYPE), b"")], "no regular file"),
        ([(a_header("1.jpg", kind=tarfile.FIFOTYPE), b"")], "no regular file"),
        ([(a_header("1.jpg", pax_headers={"GNU.sparse.major": "1"}), b"a")], "with holes"),
    ],
)
def test_a_bad_sample_is_one_bad_entry(members: Members, why: str, tmp_path: Path) -> None:
    shard = stored(tmp_path, a_tar(("0.jpg", b"x"), *members, ("3.jpg", b"x")))

    entries = list(opened(shard).entries())

    assert ids(entries) == ["0", "1: invalid_entry", "3"]
    assert isinstance(entries[1], Failed)
    assert why in entries[1].failure.message


def test_folders_and_names_without_a_dot_are_no_samples(tmp_path: Path) -> None:
    folder = a_header("d.jpg", kind=tarfile.DIRTYPE)
    shard = stored(tmp_path, a_tar((folder, b""), ("README", b"x"), (".hidden.jpg", b"x"), ("d.jpg/a.jpg", b"x")))

    assert ids(opened(shard).entries()) == ["d.jpg/a"]


def test_an_old_sparse_member_is_a_bad_entry_and_the_next_one_is_found(tmp_path: Path) -> None:
    with (tmp_path / "1.jpg").open("wb") as file:
        for at in range(20):  # more holes than a header holds
            file.seek(at * 2**20)
            file.write(b"x" * 4096)
    (tmp_path / "2.jpg").write_bytes(b"x")
    shard = by_program(tmp_path, "--sparse", "--format=oldgnu", "-cf", "shard.tar", "1.jpg", "2.jpg")

    assert shard.stat().st_size < 2**20
    assert ids(opened(shard).entries()) == ["1: invalid_entry", "2"]


@pytest.mark.parametrize("layout", ["v7", "ustar", "gnu", "pax"])
async def test_archives_of_the_tar_program_are_read(layout: str, tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_bytes(name.encode())
    shard = by_program(tmp_path, f"--format={layout}", "-cf", "shard.tar", "./a.txt", "b.txt")

    listed = items(opened(shard, "ner"))

    assert [item.id for item in listed] == ["./a", "b"]
    assert [await fetched(item, tmp_path) for item in listed] == [b"a.txt", b"b.txt"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b"no tar at all", "no tar"),
        (b"x" * 4096, "no tar"),
        (gzip.compress(a_tar(("a.jpg", b"x"))), r"compressed \(gzip\); unpack it"),
        (b"BZh9" + bytes(600), "compressed"),
        (b"\xfd7zXZ\0" + bytes(600), "compressed"),
        (b"\x28\xb5\x2f\xfd" + bytes(600), "compressed"),
        (b"PK\x03\x04" + bytes(600), "compressed"),
    ],
    ids=["nothing", "short", "noise", "gzip", "bzip2", "xz", "zstd", "zip"],
)
def test_what_is_no_plain_tar_is_refused_when_it_is_opened(content: bytes, why: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=why):
        opened(stored(tmp_path, content))


def test_a_damaged_archive_says_from_where_on_it_is_not_listed(tmp_path: Path) -> None:
    content = bytearray(a_tar(("a.jpg", b"x"), ("a.json", b"{}"), ("b.jpg", b"y"), ("c.jpg", b"z")))
    content[2048:2100] = b"\xff" * 52

    assert ids(opened(stored(tmp_path, bytes(content))).entries()) == ["a", "shard.tar from byte 2048: invalid_entry"]


@pytest.mark.parametrize("kept", [1024, 1024 + 100, 1024 + 512, 1024 + 512 + 100])
def test_an_archive_that_was_cut_says_so(kept: int, tmp_path: Path) -> None:
    shard = stored(tmp_path, a_tar(("a.jpg", b"x"), ("b.jpg", b"y" * 512))[:kept])

    *first, last = ids(opened(shard).entries())

    match kept:
        case 1024:
            assert (first, last) == ([], "a")  # between two members: nothing is missing that could be known
        case 1124:
            assert (first, last) == (["a"], "shard.tar from byte 1024: invalid_entry")
        case _:
            assert (first, last) == (["a"], "b: invalid_entry")


def with_checksum(header: bytes) -> bytes:
    blank = header[:148] + b" " * 8 + header[156:]
    return header[:148] + b"%06o\0 " % sum(blank) + header[156:]


@pytest.mark.parametrize(
    "size", [b"\xff" * 12, b"\x80" + b"\xff" * 11, b"77777777777\0", b"-0000000001\0", b"zzzzzzzzzzz\0"]
)
@pytest.mark.parametrize("kind", [b"0", b"L", b"x", b"g", b"S", b"K", b"5", b"1", b"?"])
def test_a_size_that_cannot_be_costs_neither_time_nor_memory(size: bytes, kind: bytes, tmp_path: Path) -> None:
    header = a_tar(("b.jpg", b""))[:512]
    hostile = with_checksum(header[:124] + size + header[136:156] + kind + header[157:])
    shard = stored(tmp_path, a_tar(("a.jpg", b"x"))[:1024] + hostile)

    tracemalloc.start()
    try:
        entries = list(opened(shard).entries())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert entries[0].id == "a" if isinstance(entries[0], Item) else False
    assert len(entries) <= 2
    assert peak < 4 * 2**20


@pytest.mark.parametrize("kind", [b"L", b"x"])
def test_names_and_attributes_without_bounds_are_not_read(kind: bytes, tmp_path: Path) -> None:
    """The file is as long as its header says, and takes no room on the disk: tarfile would read all 8 GB."""
    header = a_tar(("b.jpg", b""))[:512]
    shard = stored(tmp_path, with_checksum(header[:124] + b"77777777777\0" + header[136:156] + kind + header[157:]))
    os.truncate(shard, 8 * 2**30)

    tracemalloc.start()
    try:
        [entry] = ids(opened(shard).entries())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert entry == "shard.tar from byte 512: invalid_entry"
    assert peak < 4 * 2**20


@pytest.mark.parametrize(
    ("attributes", "at"),
    [(b"x", 512), (b"5 a\n", 512), (b"999999 path=a\n", 512), (b"0 path=a\n", 512), (b"-9 path=a\n", 512),
     (b"\xff\xff\xff", 512), (b"11 size=-1\n", 1536), (b"12 size=1e9\n", 1536)],
)  # fmt: skip
def test_attributes_that_cannot_be_are_damage(attributes: bytes, at: int, tmp_path: Path) -> None:
    empty = a_tar((a_header("x", kind=b"x"), b""))[:512]
    header = with_checksum(empty[:124] + b"%011o\0" % len(attributes) + empty[136:])
    shard = stored(tmp_path, header + attributes.ljust(512, b"\0") + a_tar(("b.jpg", b"x")))

    assert ids(opened(shard).entries()) == [f"shard.tar from byte {at}: invalid_entry"]


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, 6 * 512 - 1), replaced=st.binary(min_size=1, max_size=40))
def test_no_damage_raises_anything_but_what_is_documented(
    at: int, replaced: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(
        a_tar(("a.jpg", b"x"), ("n" * 120 + ".jpg", b"y"), ("c.json", b"{}"), format=tarfile.PAX_FORMAT)
    )
    content[at : at + len(replaced)] = replaced
    shard = stored(tmp_path_factory.mktemp("drop"), bytes(content))

    try:
        entries = list(opened(shard).entries())
    except ConfigError:
        assert at < 512
    else:
        assert all(isinstance(entry, Item | Failed) for entry in entries)


async def test_an_archive_that_was_rewritten_since_is_changed(tmp_path: Path) -> None:
    shard = stored(tmp_path, a_tar(("a.jpg", b"one"), ("b.jpg", b"two")))
    first, second = items(opened(shard))
    stored(tmp_path, a_tar(("a.jpg", b"one"), ("c.jpg", b"xyz")))

    assert await fetched(first, tmp_path) == b"one"
    assert (await refusal(second, tmp_path)).code == "changed"

    shard.write_bytes(shard.read_bytes()[:100])
    assert (await refusal(first, tmp_path)).code == "changed"
    shard.unlink()
    assert (await refusal(first, tmp_path)).code == "not_found"


async def test_what_goes_for_files_goes_for_members(tmp_path: Path) -> None:
    shard = stored(tmp_path, a_tar(("a.jpg", b"0123456789"), ("b.jpg", b"")))
    full, empty = items(opened(shard))
    (tmp_path / "other").mkdir()

    assert (await refusal(full, tmp_path / "other")).code == "blocked_url"
    assert (await refusal(full, tmp_path, max_bytes=9)).code == "too_large"
    assert await fetched(full, tmp_path, max_bytes=10) == b"0123456789"
    assert (await refusal(empty, tmp_path)).code == "empty"


@pytest.mark.parametrize(
    "uri",
    ["tar:", "tar:/etc/passwd", "tar:/etc/passwd?offset=0&size=9&header=0123456789abcdef#a",
     "tar:/etc/passwd?offset=600&size=9#a", "tar:/etc/passwd?offset=600&size=-9&header=0123456789abcdef#a",
     "tar:/etc/passwd?offset=600&size=9&header=0123456789abcdef#a",
     "tar:../x?offset=600&size=9&header=0123456789abcdef#",
     "tar:https://example.com/a.tar?offset=600&size=9&header=0123456789abcdef#a",
     "tar:s3://other/a.tar?offset=600&size=9&header=0123456789abcdef#a"],
)  # fmt: skip
async def test_a_tar_uri_opens_nothing_that_is_not_open(uri: str, tmp_path: Path) -> None:
    item = Item(id="a", media="image", uri=uri)

    assert (await refusal(item, tmp_path)).code in ("blocked_url", "not_found")


def test_shards_are_listed_one_after_the_other(tmp_path: Path) -> None:
    for n in range(12):
        stored(tmp_path, a_tar((f"{n:02d}.jpg", b"x")), f"shard-{n:03d}.tar")

    assert ids(opened(f"{tmp_path}/shard-{{001..003}}.tar").entries()) == ["01", "02", "03"]
    assert ids(opened(f"{tmp_path}/shard-{{011,002}}.tar").entries()) == ["11", "02"]
    assert ids(opened(f"{tmp_path}/shard-*.tar").entries()) == [f"{n:02d}" for n in range(12)]
    assert ids(opened(f"{tmp_path}/shard-00?.tar").entries()) == [f"{n:02d}" for n in range(10)]
    assert opened(f"{tmp_path}/shard-*.tar").identity()["archives"] == "12"


def test_a_shard_that_changes_changes_the_identity_of_all(tmp_path: Path) -> None:
    for n in range(2):
        stored(tmp_path, a_tar(("a.jpg", b"x")), f"{n}.tar")
    source = opened(f"{tmp_path}/*.tar")
    before = source.identity()

    stored(tmp_path, a_tar(("a.jpg", b"x"), ("b.jpg", b"x"), ("c.jpg", bytes(20_000))), "1.tar")

    assert source.identity() != before


@pytest.mark.parametrize("name", ["shard-{000..002}.tar", "none-*.tar", "none.tar"])
def test_a_shard_that_is_missing_is_said(name: str, tmp_path: Path) -> None:
    stored(tmp_path, a_tar(("a.jpg", b"x")), "shard-000.tar")

    with pytest.raises(ConfigError, match=r"no file|no archives"):
        opened(f"{tmp_path}/{name}", root=tmp_path)


def test_an_archive_that_changes_while_it_is_listed_says_so(tmp_path: Path) -> None:
    shard = stored(tmp_path, a_tar(("a.jpg", b"x"), ("b.jpg", b"x")))
    entries = opened(shard).entries()
    next(entries)
    stored(tmp_path, a_tar(("a.jpg", b"x"), ("b.jpg", b"x"), ("c.jpg", bytes(20_000))))

    with pytest.raises(ConfigError, match="changed while it was listed"):
        list(entries)


def test_many_members_take_no_more_memory_than_a_few(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "shard.tar", "w") as archive:
        for n in range(20_000):
            archive.addfile(a_header(f"{n:06d}.jpg", 3), io.BytesIO(b"xyz"))
    source = opened(tmp_path / "shard.tar")

    tracemalloc.start()
    try:
        count = sum(1 for _ in source.entries())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert count == 20_000
    assert peak < 2**20


@pytest.fixture(scope="module")
def s3() -> Iterator[Reader]:
    with reader("moto", "moto") as running:
        yield running


def test_archives_in_a_bucket_are_read_in_place(s3: Reader) -> None:
    shards = {
        f"shard-{n}.tar": a_tar((f"{n}a.jpg", b"one"), (f"{n}b.jpg", b"\xfftwo"), (f"{n}b.cls", b"7")).decode("latin-1")
        for n in range(2)
    }
    s3.ask(ask="put", bucket="drops", objects=shards)

    answer = s3.ask(ask="list", drop="s3://drops/shard-{0..1}.tar", task="detection", allowed=["s3://drops"])

    assert [entry["id"] for entry in answer["entries"]] == ["0a", "0b", "1a", "1b"]
    last = answer["entries"][-1]
    assert last["meta"] == {"cls": "7"}
    assert s3.ask(ask="fetch", uri=last["uri"], allowed=["s3://drops"]) == "\xfftwo"
    with pytest.raises(RuntimeError, match=r"allowed_buckets"):
        s3.ask(ask="fetch", uri=last["uri"], allowed=["s3://other"])
    s3.ask(ask="put", bucket="drops", objects={"shard-1.tar": shards["shard-0.tar"]})
    with pytest.raises(RuntimeError, match="is not where it was"):
        s3.ask(ask="fetch", uri=last["uri"], allowed=["s3://drops"])


def test_a_pattern_of_stars_in_a_bucket_is_refused_in_words() -> None:
    policy = FetchPolicy(allowed_buckets=("s3://drops",))

    with pytest.raises(ConfigError, match="name archives by braces"):
        open_source("s3://drops/shard-*.tar", "detection", policy=policy)


def test_a_sample_without_its_media_is_the_only_entry(tmp_path: Path) -> None:
    assert "wanted one of audio" in fault(opened(stored(tmp_path, a_tar(("a.jpg", b"x"))), "speech")).failure.message
