"""Tests that a task says what to label, and cannot say what we must not open."""

from __future__ import annotations

from typing import Any

import pytest

from models.errors import ItemError
from models.types import Item
from pipelines.formats.label_studio.task import item
from tests.pipelines.formats.label_studio.builders import IMAGE, TEXT, a_binding, labels_tag

BOXES = labels_tag("RectangleLabels", "box", "cat")
NAMES = labels_tag("Labels", "who", "PER", to="txt")
SERVER = "http://ls.example:8080"


def image(value: Any, *, server_url: str | None = SERVER, source: str = IMAGE, **data: Any) -> Item:
    task = {"id": 7, "data": {"image_url": value, **data}}
    return item(a_binding("detection", source, BOXES), task, server_url=server_url, item_id="ls/1/7")


def text(value: Any, source: str = TEXT) -> Item:
    return item(a_binding("ner", source, NAMES), {"data": {"body": value}}, server_url=SERVER, item_id="7")


@pytest.mark.parametrize(
    "uri", ["https://example.com/x.jpg", "s3://bucket/key.jpg", "gs://b/k", "data:image/png;base64,iVBORw0KGgo="]
)
def test_an_address_stays_as_it_is(uri: str) -> None:
    assert image(uri) == Item(id="ls/1/7", media="image", uri=uri)


def test_an_upload_lies_on_the_server() -> None:
    assert image("/data/upload/3/a_%C3%A9.png").uri == f"{SERVER}/data/upload/3/a_%C3%A9.png"


@pytest.mark.parametrize("path", ["/data/upload/a.png", "/ls/data/upload/a.png"])
def test_a_server_under_a_path_of_its_own_is_one(path: str) -> None:
    assert image(path, server_url="https://example.com/ls/").uri == "https://example.com/ls/data/upload/a.png"


def test_a_local_file_of_the_server_is_one_of_its_files() -> None:
    assert image("/data/local-files/?d=a/b.png").uri == f"{SERVER}/data/local-files/?d=a/b.png"


def test_the_plain_fields_beside_it_are_meta() -> None:
    assert image("s3://b/k", site="Graz", floor=3, tags=["a"]).meta == {"site": "Graz", "floor": "3"}


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "null"),
        ("", "an empty text"),
        (" \n", "an empty text"),
        (7, "a number"),
        ({"a": 1}, "an object"),
        (["a", "b"], "a list of 2"),
        ([], "a list"),
        ("x\0y", "NUL"),
        ("upload/a.png", "no address"),
        ("https://[::1", "no address"),
        ("//evil.example/a.png", "no address"),
        ("/\\evil.example/a.png", "no address"),
    ],
)
def test_what_is_no_address_is_refused(value: Any, why: str) -> None:
    with pytest.raises(ItemError, match=why) as refusal:
        image(value)

    assert refusal.value.code == "invalid_entry"


def test_a_list_of_one_address_is_that_address() -> None:
    assert image(["s3://b/k"]).uri == "s3://b/k"


def test_a_path_on_a_server_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ItemError, match="nobody has said where"):
        image("/data/upload/a.png", server_url=None)


@pytest.mark.parametrize(
    "uri",
    [
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "tar:///etc/a.tar!b",
        "/api/projects/",
        "/etc/passwd",
        "/data/../api/projects/",
        "/data/%2e%2e/api/projects/",
        "/data/upload/..",
        f"{SERVER}/api/projects/",
        "HTTP://LS.EXAMPLE:8080/api/projects/",
        f"{SERVER}/data/..\\api/",
        "http://someone@ls.example:8080/api/projects/",
    ],
)
def test_nothing_but_files_is_opened_under_our_own_token(uri: str) -> None:
    with pytest.raises(ItemError) as refusal:
        image(uri)

    assert refusal.value.code == "blocked_url"


def test_a_port_that_goes_without_saying_makes_no_other_server() -> None:
    with pytest.raises(ItemError, match="no file of Label Studio's"):
        image("https://ls.example:443/api/projects/", server_url="https://ls.example")


def test_other_servers_have_what_paths_they_like() -> None:
    assert image("https://example.com/api/x.png").uri == "https://example.com/api/x.png"


@pytest.mark.parametrize("value", ["", "Zürich 😀 naïve", " \n", "a\0b"])
def test_a_text_is_that_text(value: str) -> None:
    assert text(value) == Item(id="7", media="text", text=value)


@pytest.mark.parametrize(("value", "shown"), [(42, "42"), (1.5, "1.5")])
def test_a_number_is_a_text(value: float, shown: str) -> None:
    assert text(value).text == shown


@pytest.mark.parametrize("value", [None, True, ["a"], {"a": 1}])
def test_what_is_no_text_is_refused(value: Any) -> None:
    with pytest.raises(ItemError, match="'body' holds"):
        text(value)


def test_a_text_may_lie_elsewhere() -> None:
    found = text("https://example.com/a.txt", '<Text name="txt" value="$body" valueType="url"/>')

    assert (found.text, found.uri) == (None, "https://example.com/a.txt")


@pytest.mark.parametrize(
    ("field", "data"),
    [
        ("a.b", {"a": {"b": "s3://b/k"}}),
        ("a.b", {"a.b": "s3://b/k", "a": {"b": "no"}}),
        ("pages[1].url", {"pages": [{}, {"url": "s3://b/k"}]}),
    ],
)
def test_a_field_may_lie_within_others(field: str, data: dict[str, Any]) -> None:
    binding = a_binding("detection", f'<Image name="img" value="${field}"/>', BOXES)

    assert item(binding, {"data": data}, server_url=None, item_id="7").uri == "s3://b/k"


@pytest.mark.parametrize("task", [{}, {"data": None}, {"data": {}}, {"data": {"other": "s3://b/k"}}])
def test_a_task_without_the_field_is_refused_with_what_it_has(task: dict[str, Any]) -> None:
    with pytest.raises(ItemError, match="wanted") as refusal:
        item(a_binding("detection", IMAGE, BOXES), task, server_url=SERVER, item_id="7")

    assert refusal.value.code == "invalid_entry"
