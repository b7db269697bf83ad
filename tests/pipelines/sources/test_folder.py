"""Checks which files of a folder are listed, and in what order."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from models.errors import ConfigError
from models.types import Item
from pipelines.fetch import Fetcher, FetchPolicy
from pipelines.sources.folder import Folder, items_of
from tests.pipelines.sources.builders import a_tree, ids, items, opened


def test_the_files_of_the_tasks_media_are_listed_by_their_relative_paths(tmp_path: Path) -> None:
    a_tree(tmp_path, "b.jpg", "a/x.PNG", "a/notes.txt", "a/deep/er/y.webp", "c.wav", "README", "noise.jpg.bak")

    listed = items(Folder(tmp_path, "detection"))

    assert [item.id for item in listed] == ["a/deep/er/y.webp", "a/x.PNG", "b.jpg"]
    assert [item.uri for item in listed] == [str(tmp_path / item.id) for item in listed]
    assert {item.media for item in listed} == {"image"}
    assert ids(Folder(tmp_path, "speech").entries()) == ["c.wav"]


def test_the_order_is_that_of_the_paths_by_their_parts(tmp_path: Path) -> None:
    names = ["a.jpg", "a/b.jpg", "a b/c.jpg", "a-b/c.jpg", "B.jpg", "ä.jpg", "z/10.jpg", "z/9.jpg", "a/b/c.jpg"]
    a_tree(tmp_path, *names)

    listed = ids(Folder(tmp_path, "detection").entries())

    assert listed == sorted(names, key=lambda name: name.split("/"))
    assert listed == ids(Folder(tmp_path, "detection").entries())


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    a_tree(tmp_path, ".a.jpg", ".git/b.jpg", "c/.d/e.jpg", "c/f.jpg", "._f.jpg")

    assert ids(Folder(tmp_path, "detection").entries()) == ["c/f.jpg"]


async def test_a_name_that_is_no_utf_8_is_listed_and_can_be_fetched(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9 %E9.txt")).write_bytes(b"Alice")

    [item] = items(Folder(tmp_path, "ner"))

    async with Fetcher(FetchPolicy(roots=(tmp_path,))) as fetcher:
        assert (await fetcher.fetch(item)).data == b"Alice"
    assert os.fsencode(item.id) == b"caf\xe9 %E9.txt"
    assert item.uri
    assert item.uri.encode()  # so that a database and JSON can hold it


async def test_names_of_any_characters_can_be_fetched(tmp_path: Path) -> None:
    names = ["a#b?c.txt", "line\nend.txt", "data:,x.txt", "http:.txt", "*[a].txt", "100%41.txt", "\u202egpj.txt"]
    a_tree(tmp_path, *names, content=b"Alice")

    listed = items(Folder(tmp_path, "ner"))

    assert sorted(item.id for item in listed) == sorted(names)
    async with Fetcher(FetchPolicy(roots=(tmp_path,))) as fetcher:
        for item in listed:
            assert (await fetcher.fetch(item)).data == b"Alice"


def test_links_are_followed_within_the_folder(tmp_path: Path) -> None:
    a_tree(tmp_path, "a/x.jpg", ".store/y.jpg")
    (tmp_path / "b.jpg").symlink_to(tmp_path / "a" / "x.jpg")
    (tmp_path / "c").symlink_to("a")
    (tmp_path / "d.jpg").symlink_to(".store/y.jpg")

    assert ids(Folder(tmp_path, "detection").entries()) == ["a/x.jpg", "b.jpg", "c/x.jpg", "d.jpg"]


def test_a_link_that_leads_out_is_a_bad_entry(tmp_path: Path) -> None:
    outside = a_tree(tmp_path / "outside", "x.jpg", "y.txt")
    drop = a_tree(tmp_path / "drop", "a.jpg")
    (drop / "file.jpg").symlink_to(outside / "x.jpg")
    (drop / "folder").symlink_to(outside)
    (drop / "nowhere.jpg").symlink_to(outside / "no such file")

    assert ids(Folder(drop, "detection").entries()) == [
        "a.jpg",
        "file.jpg: blocked_url",
        "folder: blocked_url",
        "nowhere.jpg: blocked_url",
    ]


def test_a_link_to_nothing_is_a_bad_entry(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").symlink_to("gone.jpg")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "other.txt").symlink_to("gone.txt")

    assert ids(Folder(tmp_path, "detection").entries()) == ["a.jpg: not_found", "loop.jpg: not_found"]


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    a_tree(tmp_path, "a/x.jpg", "b/y.jpg")
    for folder in "ab":
        for other in "ab":
            (tmp_path / folder / f"to_{other}").symlink_to(tmp_path / other)
        (tmp_path / folder / "up").symlink_to(tmp_path)

    assert ids(Folder(tmp_path, "detection").entries()) == ["a/to_b/y.jpg", "a/x.jpg", "b/to_a/x.jpg", "b/y.jpg"]


def test_what_is_no_file_is_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    a_tree(tmp_path, "folder.jpg/a.jpg")

    assert ids(Folder(tmp_path, "detection").entries()) == ["folder.jpg/a.jpg"]


def test_a_folder_that_cannot_be_listed_is_a_bad_entry(tmp_path: Path) -> None:
    """A path longer than the system takes, which stops even root."""
    name, folder, depth = "n" * 250, os.open(tmp_path, os.O_RDONLY), 17
    for _ in range(depth):
        os.mkdir(name, dir_fd=folder)
        below = os.open(name, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(folder)
    a_tree(tmp_path, "z.jpg")

    first, last = ids(Folder(tmp_path, "detection").entries())

    assert first.startswith(f"{name}/{name}/")
    assert first.endswith(": unreadable_folder")
    assert last == "z.jpg"


def test_a_folder_that_goes_while_it_is_listed_is_a_bad_entry(tmp_path: Path) -> None:
    a_tree(tmp_path, "a.jpg", "b/x.jpg", "c.jpg")

    entries = Folder(tmp_path, "detection").entries()
    listed = ids([next(entries)])
    (tmp_path / "b" / "x.jpg").unlink()
    (tmp_path / "b").rmdir()

    assert [*listed, *ids(entries)] == ["a.jpg", "b: unreadable_folder", "c.jpg"]


def test_a_folder_is_the_same_by_a_link_to_it(tmp_path: Path) -> None:
    drop = a_tree(tmp_path / "drop", "a.jpg")
    (tmp_path / "link").symlink_to(drop)

    linked = Folder(tmp_path / "link", "detection")

    assert list(linked.entries()) == list(Folder(drop, "detection").entries())
    assert linked.identity() == Folder(drop, "detection").identity()
    assert linked.name == "link"


def test_the_identity_tells_what_is_listed_apart(tmp_path: Path) -> None:
    a_tree(tmp_path, "a/x.jpg")
    drops = [
        opened(tmp_path),
        opened(tmp_path / "a"),
        opened(tmp_path, "speech"),
        opened(tmp_path / "*.jpg"),
        opened(tmp_path / "**/*.jpg", root=tmp_path),
    ]

    identities = [tuple(drop.identity().items()) for drop in drops]

    assert len(set(identities)) == len(drops)
    assert opened(tmp_path).identity() == drops[0].identity()
    assert opened(tmp_path, "segmentation").identity() == drops[0].identity()


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("*.jpg", ["a.jpg"]),
        ("**/*.jpg", ["a.jpg", "p/b.jpg", "p/q/c.jpg", "r/d.jpg"]),
        ("p/**", ["b.jpg", "b.png", "q/c.jpg"]),
        ("p/**/*.jpg", ["b.jpg", "q/c.jpg"]),
        ("*/?.jpg", ["p/b.jpg", "r/d.jpg"]),
        ("[pq]/*.jpg", ["p/b.jpg"]),
        ("{p,r}/*.{jpg,png}", ["p/b.jpg", "p/b.png", "r/d.jpg"]),
        ("p/q/[ab].jpg", []),
        ("**/q/**/c.jpg", ["p/q/c.jpg"]),
    ],
)
def test_a_pattern_chooses_files(pattern: str, wanted: list[str], tmp_path: Path) -> None:
    a_tree(tmp_path, "a.jpg", "p/b.jpg", "p/b.png", "p/q/c.jpg", "r/d.jpg", "p/.h.jpg", "p/e.txt")

    assert ids(opened(f"{tmp_path}/{pattern}", root=tmp_path).entries()) == wanted


def test_folders_that_a_pattern_cannot_match_are_not_read(tmp_path: Path) -> None:
    outside = a_tree(tmp_path / "outside", "x.jpg")
    drop = a_tree(tmp_path / "drop", "a/x.jpg", "b/x.jpg", "b/c/x.jpg")
    (drop / "b" / "c" / "out").symlink_to(outside)

    assert ids(opened(f"{drop}/[b]/*.jpg", root=drop).entries()) == ["b/x.jpg"]


def test_a_folder_with_the_signs_of_a_pattern_in_its_name_is_a_folder(tmp_path: Path) -> None:
    drop = a_tree(tmp_path / "run[1]{a,b}*", "x.jpg")

    assert ids(opened(drop).entries()) == ["x.jpg"]


def test_a_drop_that_is_gone_is_not_an_empty_one(tmp_path: Path) -> None:
    source = Folder(a_tree(tmp_path / "drop", "a.jpg"), "detection")
    (tmp_path / "drop").rename(tmp_path / "elsewhere")

    with pytest.raises(ConfigError, match="cannot be listed"):
        list(source.entries())


def test_no_folder_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no folder at"):
        list(items_of(tmp_path / "nowhere", "ner"))


def test_the_files_of_a_folder_are_its_items_without_the_bad_ones(tmp_path: Path) -> None:
    a_tree(tmp_path, "a.txt")
    (tmp_path / "b.txt").symlink_to("gone")

    assert list(items_of(tmp_path, "ner")) == [Item(id="a.txt", media="text", uri=str(tmp_path / "a.txt"))]
