"""Writes the output folder of a run: results.jsonl, coco.json for images, and report.html."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageOps

from models.types import MEDIA_OF_TASK, Item, Task
from pipelines.formats import coco, report, results
from pipelines.formats.report import Entry
from pipelines.formats.results import Result
from pipelines.formats.summary import TaskSummary, summarise


def write(
    outcome: Sequence[Result], items: Sequence[Item], out: Path, *, title: str, seconds: Mapping[Task, float]
) -> list[TaskSummary]:
    """Write everything a person or a tool wants of a run.

    Args:
        outcome: the results.
        items: the items they belong to, in the same order; local files by uri.
        out: the folder, made if missing; files of an earlier run are replaced.
        seconds: how long each task took.

    Returns:
        The numbers of each task, as the report shows them.
    """
    out.mkdir(parents=True, exist_ok=True)
    summary = summarise(outcome, seconds)
    entries = [_entry(result, item) for result, item in zip(outcome, items, strict=True)]
    results.write(outcome, out / "results.jsonl")
    _write_coco(entries, out / "coco.json")
    report.write(entries, out / "report.html", title=title, summary=summary)
    return summary


def _entry(result: Result, item: Item) -> Entry:
    source = Path(item.uri) if item.uri else None
    text = item.text
    if item.media == "text" and source is not None and result.status != "failed":
        text = source.read_text(encoding="utf-8")
    return Entry(result=result, source=source, text=text)


def _write_coco(entries: Sequence[Entry], file: Path) -> None:
    images = {e.result.id: e.source for e in entries if MEDIA_OF_TASK[e.result.task] == "image" and e.source}
    if not images:
        return
    labelled = {e.result.id for e in entries if e.result.status != "failed"}
    sizes = {item_id: _size_hw(source) for item_id, source in images.items() if item_id in labelled}
    names = {item_id: str(source) for item_id, source in images.items()}
    coco.write([entry.result for entry in entries], sizes, names, file)


def _size_hw(file: Path) -> tuple[int, int]:
    with Image.open(file) as image:
        width, height = ImageOps.exif_transpose(image).size
    return height, width
