"""Checks which of a Label Studio export's tasks become which items."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from models.errors import ConfigError
from models.types import Item, Task
from pipelines.sources import Columns, Source
from pipelines.types import Failed
from tests.pipelines.sources.builders import fault, ids, items, opened


def a_task(task_id: int = 1, **data: Any) -> dict[str, Any]:
    """A task as Label Studio exports it."""
    return {
        "id": task_id,
        "annotations": [{"id": 5, "result": [{"value": {"x": 1.5}, "type": "rectanglelabels"}]}],
        "predictions": [],
        "file_upload": None,
        "data": data,
        "meta": {},
        "inner_id": 3,
        "project": 2,
        "updated_by": None,
    }


def listed(folder: Path, *tasks: Any, task: Task = "detection", **options: Any) -> Source:
    (folder / "export.json").write_text(json.dumps(list(tasks)))
    return opened(folder / "export.json", task, **options)


def test_a_task_is_an_item_by_its_id_without_what_is_annotated(tmp_path: Path) -> None:
    source = listed(tmp_path, a_task(41, image="https://example.com/a.jpg", camera="north", n=2, boxes=[1], none=None))

    [item] = items(source)

    meta = {"camera": "north", "n": "2", "inner_id": "3", "project": "2"}
    assert item == Item(id="41", media="image", uri="https://example.com/a.jpg", meta=meta)
    assert source.identity()["kind"] == "label_studio"


@pytest.mark.parametrize(
    ("task", "data", "content"),
    [
        ("detection", {"image": "https://example.com/no-suffix?id=1"}, "https://example.com/no-suffix?id=1"),
        ("detection", {"shelf": "s3://drops/a.jpg", "page": "https://example.com/"}, "s3://drops/a.jpg"),
        ("detection", {"shelf": "https://example.com/a.JPG?sig=x", "note": "b"}, "https://example.com/a.JPG?sig=x"),
        ("detection", {"image": "a.jpg", "thumbnail": "b.jpg"}, "{folder}/a.jpg"),
        ("detection", {"pic": "data:image/png;base64,aGk=", "text": "x"}, "data:image/png;base64,aGk="),
        ("speech", {"clip": "sub/a.wav", "text": "a transcript"}, "{folder}/sub/a.wav"),
        ("speech", {"audio": "/mnt/a.flac", "image": "x.jpg"}, "/mnt/a.flac"),
        ("ner", {"text": "Alice met Bob."}, "Alice met Bob."),
        ("ner", {"text": "Alice met Bob.", "source": "mail"}, "Alice met Bob."),
        ("ner", {"utterance": "Alice met Bob.", "n": 5}, "Alice met Bob."),
        ("ner", {"document": "https://example.com/a.txt"}, "https://example.com/a.txt"),
        ("ner", {"text": "See a.txt"}, "See a.txt"),
        ("ner", {"text": ""}, ""),
    ],
)
def test_the_field_that_says_what_to_label_is_found(
    task: Task, data: dict[str, Any], content: str, tmp_path: Path
) -> None:
    [item] = items(listed(tmp_path, a_task(**data), task=task))

    assert content.format(folder=tmp_path) in (item.uri, item.text)
    assert (item.uri is None) != (item.text is None)


def test_the_field_can_be_named(tmp_path: Path) -> None:
    tasks = [a_task(1, left="a.jpg", right="b.jpg"), a_task(2, left="a.jpg")]

    first, second = listed(tmp_path, *tasks, columns=Columns(uri="right")).entries()

    assert isinstance(first, Item)
    assert (first.uri, first.meta["left"]) == (str(tmp_path / "b.jpg"), "a.jpg")
    assert isinstance(second, Failed)
    assert second.item.id == "2"
    assert "no text or URI under 'right'" in second.failure.message


@pytest.mark.parametrize("uri", ["/data/upload/3/2abf-a_%C3%A9.png", "/data/local-files/?d=shelf/a.jpg"])
def test_a_path_on_the_server_needs_the_servers_address(uri: str, tmp_path: Path) -> None:
    [item] = items(listed(tmp_path, a_task(image=uri), base="https://labels.example.com/"))

    assert item.uri == "https://labels.example.com" + uri
    assert "at which address" in fault(listed(tmp_path, a_task(image=uri))).failure.message
    assert "at which address" in fault(listed(tmp_path, a_task(image=uri), base="images")).failure.message


@pytest.mark.parametrize(
    ("task", "why"),
    [
        (5, "is a int"),
        ([1], "is a list"),
        ({}, "no 'data'"),
        ({"id": 1, "data": "a.jpg"}, "no 'data'"),
        (a_task(), "has nothing, wanted one field"),
        (a_task(a="x.jpg", b="y.jpg"), "has 'a', 'b', wanted one field"),
        (a_task(image=5), "has 'image', wanted one field"),
        (a_task(image="a\0.jpg"), "NUL"),
        ({"id": 1.5, "data": {"image": "a.jpg"}}, "'id' holds a float"),
        ({"id": "\ud800", "data": {"image": "a.jpg"}}, "no JSON"),
    ],
)
def test_a_bad_task_is_one_bad_entry(task: Any, why: str, tmp_path: Path) -> None:
    good = a_task(9, image="a.jpg")

    first, bad, last = listed(tmp_path, good, task, good).entries()

    assert ids([first, last]) == ["9", "9"]
    assert isinstance(bad, Failed)
    assert bad.failure.code == "invalid_entry"
    assert why in bad.failure.message


def test_a_task_without_an_id_is_named_by_its_place(tmp_path: Path) -> None:
    tasks = [{"data": {"text": "Alice"}}, {"data": {}}, {"id": "x", "data": {"text": "Bob"}}]

    assert ids(listed(tmp_path, *tasks, task="ner").entries()) == ["task 1", "task 2: invalid_entry", "x"]


def test_an_export_that_was_cut_says_from_where_on_it_is_not_listed(tmp_path: Path) -> None:
    whole = json.dumps([a_task(1, image="a.jpg"), a_task(2, image="b.jpg")])
    (tmp_path / "export.json").write_text(whole[:-20])

    first, last = ids(opened(tmp_path / "export.json").entries())

    assert first == "1"
    assert last == f"export.json from byte {len(whole) - 20}: invalid_entry"


@pytest.mark.parametrize("content", ["", "5", "no JSON"])
def test_what_is_no_list_and_no_object_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "export.json").write_text(content)

    with pytest.raises(ConfigError, match="neither a JSON list nor an object"):
        opened(tmp_path / "export.json")
