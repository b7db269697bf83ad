"""Writes the output folder of a run: results.jsonl, coco.json for images, and report.html."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from models.errors import ItemError
from models.media import MediaLimits, image_size_hw
from models.types import MEDIA_OF_TASK, Item, Task
from pipelines.formats import coco, extents, report, results
from pipelines.formats.exported import Exported
from pipelines.formats.report import Entry
from pipelines.formats.results import Result
from pipelines.formats.summary import TaskSummary, summarise
from pipelines.remarks import remarks_on
from pipelines.standards import Standards

# Failures of items that were not opened, or must not be: their files are not shown either.
_UNOPENED = frozenset({"blocked_url", "too_large", "not_found", "fetch_failed", "unreachable", "invalid_item"})


def write(
    outcome: Sequence[Result],
    items: Sequence[Item],
    out: Path,
    *,
    title: str,
    seconds: Mapping[Task, float],
    media: MediaLimits = MediaLimits(),
    standards: Standards | None = None,
) -> list[TaskSummary]:
    """Write everything a person or a tool wants of a run.

    A file that has changed or gone since it was labelled is missing from the report, and costs nothing else.

    Args:
        outcome: the results.
        items: the items they belong to, in the same order; local files by uri.
        out: the folder, made if missing; files of an earlier run are replaced.
        seconds: how long each task took.
        media: the limits that the items were decoded under.
        standards: what the results met, for the report to name rules that found nothing or are switched off.

    Returns:
        The numbers of each task, as the report shows them.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name in ("results.jsonl", "coco.json", "report.html"):
        (out / name).unlink(missing_ok=True)
    results.write(outcome, out / "results.jsonl")
    pairs = list(zip(outcome, items, strict=True))
    images = [(result, item) for result, item in pairs if MEDIA_OF_TASK[result.task] == "image"]
    if images:
        labels = sorted({annotation.label for result, _ in images for annotation in result.annotations})
        coco.write((_exported(result, item, media) for result, item in images), labels=labels, out=out)
    summary = summarise(outcome, seconds)
    entries = (_entry(result, item, media) for result, item in pairs)
    remarks = remarks_on(outcome)
    tasks: set[Task] = {result.task for result in outcome}
    report.write(
        entries,
        out / "report.html",
        title=title,
        summary=summary,
        sanity=remarks.by_rule(standards.checked_rules(*tasks) if standards else ()),
        rules_off=standards.rules_off(*tasks) if standards else (),
        unmapped=remarks.by_label(),
    )
    return summary


def _entry(result: Result, item: Item, media: MediaLimits) -> Entry:
    is_unopened = result.error is not None and result.error.code in _UNOPENED
    source = Path(item.uri) if item.uri and not is_unopened else None
    return Entry(result=result, source=source, text=item.text, limits=media)


def _exported(result: Result, item: Item, media: MediaLimits) -> Exported:
    """The result with its image's size, which those of an earlier version lack; their file may still be there."""
    return Exported(
        result=replace(result, size_hw=extents.image_size_hw(result) or _size_of_file(result, item, media)), item=item
    )


def _size_of_file(result: Result, item: Item, media: MediaLimits) -> tuple[int, int] | None:
    if result.status == "failed" or item.uri is None:
        return None
    with suppress(OSError, ItemError):
        return image_size_hw(Path(item.uri).read_bytes(), media)
    return None
