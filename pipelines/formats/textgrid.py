"""Writes what is said in recordings as Praat's TextGrids: one file for each recording, a tier for each label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from models.types import Task
from pipelines.formats.exported import Exported, LeftOut, labelled
from pipelines.formats.names import open_file
from pipelines.formats.results import Result
from pipelines.formats.transcript import Spoken, milliseconds, one_line, spoken

TASKS: frozenset[Task] = frozenset({"speech"})

_MOST_TIERS = 9  # for one label; more than that overlap only by mistake

Interval = tuple[int, int, str]  # start and end in milliseconds, text


def write(entries: Iterable[Exported], *, labels: Sequence[str], out: Path) -> LeftOut:
    """Write ``<item id>.TextGrid`` for each recording, in Praat's long text format and UTF-8.

    Each of ``labels`` is a tier of intervals, in a recording without speech an empty one. What overlaps lies on further
    tiers: "speech 2", "speech 3" … up to 9. A word of no length takes the first millisecond of the next one. Praat has
    no place for scores and attributes. A recording whose length is not known ends with its last label.
    Source: https://www.fon.hum.uva.nl/praat/manual/TextGrid_file_formats.html.
    """
    left_out = Counter[str]()
    for entry in labelled(entries, left_out):
        tiers = _tiers(entry.result, labels or ("speech",), left_out)
        end_ms = max(1, milliseconds(entry.result.duration_s or 0.0), *map(_end_ms, tiers.values()))
        with open_file(out, entry.item.id, ".TextGrid") as file:
            file.writelines(f"{line}\n" for line in _lines(tiers, end_ms))
    return +left_out  # without zeros


def _tiers(result: Result, labels: Sequence[str], left_out: LeftOut) -> dict[str, list[Interval]]:
    tiers: dict[str, list[Interval]] = {one_line(label): [] for label in labels}
    for one in spoken(result, left_out):
        if not one.text:
            left_out["labels without text"] += 1
        elif not _is_placed(one, tiers):
            left_out["labels that overlap too many others"] += 1
        else:
            left_out.update({"scores": 1, "attributes": len(one.annotation.attributes)})
    return tiers


def _is_placed(one: Spoken, tiers: dict[str, list[Interval]]) -> bool:
    """Put a label on the first tier that is free at its start, or but for the millisecond that an empty span takes."""
    name = one_line(one.annotation.label)
    for number in range(1, _MOST_TIERS + 1):
        intervals = tiers.setdefault(name if number == 1 else f"{name} {number}", [])
        start_ms = max(one.start_ms, _end_ms(intervals))
        if start_ms <= one.start_ms + 1:
            intervals.append((start_ms, max(one.end_ms, start_ms + 1), one.text))
            return True
    return False


def _end_ms(intervals: Sequence[Interval]) -> int:
    return intervals[-1][1] if intervals else 0


def _lines(tiers: Mapping[str, Sequence[Interval]], end_ms: int) -> Iterator[str]:
    yield from ('File type = "ooTextFile"', 'Object class = "TextGrid"', "")
    yield from (*_times(0, end_ms), "tiers? <exists>", f"size = {len(tiers)}", "item []:")
    for number, (name, labelled_intervals) in enumerate(tiers.items(), start=1):
        intervals = list(_without_gaps(labelled_intervals, end_ms))
        yield from (f"    item [{number}]:", '        class = "IntervalTier"', f"        name = {_quoted(name)}")
        yield from (f"        {line}" for line in _times(0, end_ms))
        yield f"        intervals: size = {len(intervals)}"
        for count, (start, end, text) in enumerate(intervals, start=1):
            yield f"        intervals [{count}]:"
            yield from (f"            {line}" for line in (*_times(start, end), f"text = {_quoted(text)}"))


def _without_gaps(intervals: Sequence[Interval], end_ms: int) -> Iterator[Interval]:
    """The intervals and empty ones between them: a tier covers the whole recording."""
    until = 0
    for start, end, text in intervals:
        if start > until:
            yield until, start, ""
        yield start, end, text
        until = end
    if end_ms > until:
        yield until, end_ms, ""


def _times(start_ms: int, end_ms: int) -> tuple[str, str]:
    return f"xmin = {start_ms / 1000:.3f}", f"xmax = {end_ms / 1000:.3f}"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
