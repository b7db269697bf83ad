"""Lays out a dataset as Ultralytics reads it: data.yaml, labels/, and beside them what a label line cannot hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from models.types import Annotation
from pipelines.formats.exported import Exported, LeftOut, certainty, labelled
from pipelines.formats.extents import image_size_hw
from pipelines.formats.results import Result
from pipelines.formats.stems import Stem, Stems


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An object and its numbers as YOLO writes them, in [0, 1] of the image's width and height."""

    annotation: Annotation
    numbers: Sequence[float]


# The rows of a result whose image is of the given height and width, counting what none can be made of.
Rows = Callable[[Result, tuple[int, int], LeftOut], Iterator[Row]]


def write(entries: Iterable[Exported], *, labels: Sequence[str], out: Path, rows: Rows) -> LeftOut:
    """Write a dataset of the layout of docs.ultralytics.com/datasets.

    - ``data.yaml``: the labels as ``names``, numbered from 0 in their order.
    - ``labels/STEM.txt``: a line for each object, ``class numbers…``; empty where there is none. It belongs to the
      image that you put at ``images/STEM.jpg``, as ``images.jsonl`` says. Folders of an id stay folders, but for one
      named ``images``: Ultralytics finds labels by the last folder of this name. An image without such a file, as of
      an item that failed, does not belong there: Ultralytics takes it for one without objects.
    - ``predictions/STEM.txt``: the same lines with each object's certainty at the end, as Ultralytics' ``save_conf``
      writes its own predictions. They have a folder of their own, because Ultralytics trains on no file with such a
      column ("labels require 5 columns", data/utils.py).
    - ``images.jsonl``: a line for each result: its image's place, id and uri, task and route, and whether the
      certainties are calibrated (``confidence``) or the model's own (``score``).

    An image that comes again, for another task, has its lines added. Numbers are rounded to the eighth decimal.
    """
    left_out = LeftOut()
    class_ids = {label: number for number, label in enumerate(labels)}
    _write_names(labels, out / "data.yaml")
    with Stems(".txt", reserved=frozenset({"images"})) as stems, (out / "images.jsonl").open("w") as images:
        for entry in labelled(entries, left_out):
            size_hw = image_size_hw(entry.result)
            if size_hw is None and entry.result.annotations:
                left_out["items whose image size is not known"] += 1
                continue
            found = list(rows(entry.result, size_hw, left_out)) if size_hw else []
            _count_lost(found, left_out)
            stem = stems.claim(entry.item)
            lines = [_line(row, class_ids[row.annotation.label]) for row in found]
            predictions = [
                f"{line} {_number(certainty(row.annotation)[0])}" for line, row in zip(lines, found, strict=True)
            ]
            _add(out / "labels", stem, lines)
            _add(out / "predictions", stem, predictions)
            images.write(json.dumps(_image(entry, stem, found)) + "\n")
    return left_out


def _write_names(labels: Sequence[str], file: Path) -> None:
    # ASCII: what YAML forbids in the open, control characters and lone surrogates, it still takes as escapes.
    dataset = {"train": "images", "val": "images", "names": dict(enumerate(labels))}
    file.write_text(yaml.safe_dump(dataset, sort_keys=False, width=float("inf")), encoding="ascii")


def _count_lost(rows: Sequence[Row], left_out: LeftOut) -> None:
    for row in rows:
        if row.annotation.attributes:
            left_out["attributes"] += len(row.annotation.attributes)
        if row.annotation.text is not None:
            left_out["texts of objects"] += 1


def _line(row: Row, class_id: int) -> str:
    return " ".join([str(class_id), *map(_number, row.numbers)])


def _number(value: float) -> str:
    return f"{value:.8f}".rstrip("0").rstrip(".")


def _add(folder: Path, stem: Stem, lines: Sequence[str]) -> None:
    file = folder / f"{stem.name}.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w" if stem.is_new else "a") as text:
        text.writelines(f"{line}\n" for line in lines)


def _image(entry: Exported, stem: Stem, rows: Sequence[Row]) -> dict[str, object]:
    return {
        "image": f"images/{stem.name}{stem.suffix}",
        "labels": f"labels/{stem.name}.txt",
        "id": entry.result.id,
        "uri": entry.item.uri,
        "task": entry.result.task,
        "route": entry.result.decision.route if entry.result.decision else None,
        "score_kinds": sorted({certainty(row.annotation)[1] for row in rows}),
    }
