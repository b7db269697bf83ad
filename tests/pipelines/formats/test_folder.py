"""Tests that a run's output folder is written whole, whatever became of single files."""

from __future__ import annotations

import json
import os
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from models.media import MediaLimits, decode, image_size_hw
from models.types import Content, Item, Media, TextSpan
from pipelines.formats import folder, results
from pipelines.formats.results import Result
from pipelines.sanity import Finding
from pipelines.standards import Standards
from pipelines.types import Failure
from tests.pipelines.formats.builders import a_failure, a_result, an_annotation
from tests.pipelines.formats.report.pages import Page


def write(tmp_path: Path, *pairs: tuple[Result, Path | None]) -> Path:
    media_of: dict[str, Media] = {"detection": "image", "ner": "text", "speech": "audio"}
    items = [Item(id=result.id, media=media_of[result.task], uri=str(file) if file else None) for result, file in pairs]
    folder.write([result for result, _ in pairs], items, tmp_path / "out", title="a run", seconds={})
    return tmp_path / "out"


def an_image(file: Path, *, exif: bytes = b"") -> Path:
    Image.new("RGB", (40, 30), "white").save(file, "JPEG", exif=exif)
    return file


def odd_exif() -> bytes:
    """Says "turn me", and holds a rational where text belongs: Pillow turns the picture and then fails to say so."""
    entries = [
        struct.pack("<HHII", 0x0112, 3, 1, 6),  # orientation: turned right
        struct.pack("<HHII", 0x8769, 4, 1, 38),  # where the second directory lies
    ]
    first = b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries) + struct.pack("<I", 0)
    second = struct.pack("<H", 1) + struct.pack("<HHII", 0x9003, 5, 1, 60) + struct.pack("<I", 0)
    return b"Exif\0\0" + first + second + b"\0" * 4 + struct.pack("<II", 1, 2)


def test_an_image_with_damaged_exif_has_the_size_of_what_was_labelled(tmp_path: Path) -> None:
    for exif in (odd_exif(), odd_exif()[:30]):
        data = an_image(tmp_path / "odd.jpg", exif=exif).read_bytes()
        payload = decode(Content(media="image", data=data))

        assert image_size_hw(data, MediaLimits()) == payload.image_rgb.shape[:2]  # pyright: ignore[reportAttributeAccessIssue]


def test_files_that_went_or_changed_cost_their_pictures_alone(tmp_path: Path) -> None:
    gone, changed, fine = tmp_path / "gone.jpg", tmp_path / "changed.jpg", an_image(tmp_path / "fine.jpg")
    changed.write_bytes(b"no image any more")
    text_gone = a_result("gone.txt", an_annotation(geometry=TextSpan(start=0, end=3)), task="ner")

    out = write(
        tmp_path,
        *((a_result(file.name, an_annotation()), file) for file in (gone, changed, fine)),
        (text_gone, tmp_path / "gone.txt"),
    )

    assert len(results.read(out / "results.jsonl")) == 4
    images = json.loads((out / "coco.json").read_text())["images"]
    assert [(image["height"], image["width"]) for image in images] == [(0, 0), (0, 0), (30, 40)]
    assert (out / "report.html").read_text().count("data:image/jpeg") == 1


def test_the_report_names_rules_that_found_something_nothing_or_are_off(tmp_path: Path) -> None:
    finding = Finding(rule="sliver", annotation_id="0", action="flagged", message="it is thin")
    result = replace(a_result("a.png", an_annotation()), findings=(finding,), unmapped={"tram": 2})
    item = Item(id="a.png", media="image", uri=str(tmp_path / "a.png"))

    folder.write([result], [item], tmp_path / "of it", title="a run", seconds={}, standards=Standards())
    folder.write([result], [item], tmp_path / "alone", title="a run", seconds={})

    full, alone = (Page((tmp_path / out / "report.html").read_text()).text for out in ("of it", "alone"))
    assert "sliver100" in "".join(full.split())
    assert "Nothing found: zero_area" in full
    assert "Switched off: tiny_box" in full
    assert "tram 2" in full
    assert "sliver100" in "".join(alone.split())
    assert "Nothing found:" not in alone


def test_a_name_that_is_no_utf8_comes_back(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")

    out = write(tmp_path, (a_result(name, an_annotation()), None), (a_result("Århus.jpg"), None))

    assert [result.id for result in results.read(out / "results.jsonl")] == [name, "Århus.jpg"]
    assert "Århus" in (out / "results.jsonl").read_text()


def test_spans_of_a_text_with_windows_line_ends_are_marked_where_they_are(tmp_path: Path) -> None:
    file = tmp_path / "letter.txt"
    file.write_bytes(b"Dear all,\r\n\r\nAda Varga left.")
    span = an_annotation(label="person", geometry=TextSpan(start=13, end=22))

    out = write(tmp_path, (a_result("letter.txt", span, task="ner"), file))

    marked = (out / "report.html").read_text()
    assert ">Ada Varga<" in marked.replace("\n", "").replace("  ", "") or "Ada Varga</mark>" in marked


@pytest.mark.parametrize("code", ["blocked_url", "too_large"])
def test_a_file_that_was_not_opened_is_not_shown(tmp_path: Path, code: str) -> None:
    secret = an_image(tmp_path / "secret.jpg")
    failed = a_failure("secret.jpg", code=code)

    out = write(tmp_path, (failed, secret))

    assert failed.error == Failure(code=code, message=failed.error.message if failed.error else "")
    assert "data:image/jpeg" not in (out / "report.html").read_text()


def test_nothing_of_an_earlier_run_stays(tmp_path: Path) -> None:
    write(tmp_path, (a_result("a.jpg", an_annotation()), an_image(tmp_path / "a.jpg")))

    out = write(tmp_path, (a_result("a.txt", task="ner"), None))

    assert sorted(file.name for file in out.iterdir()) == ["report.html", "results.jsonl"]
