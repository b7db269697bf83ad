"""Writes results as a folder about images and has a library read it back, with images of the right sizes in it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.types import Item
from pipelines.formats.exported import Exported, Format, LeftOut
from pipelines.formats.extents import image_size_hw
from pipelines.formats.results import Result
from tests.pipelines.formats.readers import Reader

_IMAGE_SUFFIXES = (".jpg", ".png")


def write(format: Format, out: Path, *results: Result) -> LeftOut:
    """The results of images under ``/data``."""
    labels = sorted({annotation.label for result in results for annotation in result.annotations})
    items = [Item(id=result.id, media="image", uri=f"/data/{result.id}") for result in results]
    entries = (Exported(result=result, item=item) for result, item in zip(results, items, strict=True))
    return format.write(entries, labels=labels, out=out)


def lines_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "images.jsonl").read_text().splitlines()]


def read_yolo(supervision: Reader, out: Path, results: Sequence[Result]) -> dict[str, list[dict[str, Any]]]:
    """What supervision finds in the image of each id."""
    path_of = {line["id"]: _with_suffix(line["image"].removeprefix("images/")) for line in lines_of(out)}
    folders = {"images": out / "images", "labels": out / "labels", "names": str(out / "data.yaml")}
    return _read(supervision, path_of, results, kind="yolo", **folders)


def read_voc(supervision: Reader, out: Path, results: Sequence[Result]) -> dict[str, list[dict[str, Any]]]:
    """What supervision finds in the image of each id; images come in the order of their names in the image set."""
    names = (out / "ImageSets" / "Main" / "train.txt").read_text().splitlines()
    item_ids = dict.fromkeys(result.id for result in results if result.status != "failed")
    path_of = {}
    for item_id, name in zip(item_ids, names, strict=True):
        file_name = re.search("<filename>(.*)</filename>", (out / "Annotations" / f"{name}.xml").read_text())
        path_of[item_id] = _with_suffix(file_name[1] if file_name else "")
    return _read(supervision, path_of, results, kind="voc", images=out / "JPEGImages", labels=out / "Annotations")


def _read(
    supervision: Reader, path_of: dict[str, str], results: Sequence[Result], **request: object
) -> dict[str, list[dict[str, Any]]]:
    size_of = {result.id: size for result in reversed(results) if (size := image_size_hw(result))}
    assert len(set(path_of.values())) == len(path_of), "two images of one name"
    sizes = {path: size_of.get(item_id, (1, 1)) for item_id, path in path_of.items()}
    found = supervision.ask(sizes=sizes, **request)
    return {item_id: found[path] for item_id, path in path_of.items()}


def _with_suffix(path: str) -> str:
    return path if path.lower().endswith(_IMAGE_SUFFIXES) else f"{path}.png"
