"""Writes results as a folder about images and has a library read it back, with images of the right sizes in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.types import Item
from pipelines.formats.exported import Exported, Format, LeftOut
from pipelines.formats.extents import size_hw_of
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
    size_of = {result.id: size for result in reversed(results) if (size := size_hw_of(result))}
    path_of = {line["id"]: _with_suffix(line["image"].removeprefix("images/")) for line in lines_of(out)}
    assert len(set(path_of.values())) == len(path_of), "two images of one name"
    sizes = {path: size_of.get(item_id, (1, 1)) for item_id, path in path_of.items()}
    found = supervision.ask(
        kind="yolo", images=out / "images", labels=out / "labels", names=str(out / "data.yaml"), sizes=sizes
    )
    return {item_id: found[path] for item_id, path in path_of.items()}


def _with_suffix(path: str) -> str:
    return path if path.lower().endswith(_IMAGE_SUFFIXES) else f"{path}.png"
