"""Writes named entities in brat's standoff format."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from models.types import Task
from pipelines.formats.exported import Exported, LeftOut, certainty, safe_path
from pipelines.formats.label_names import label_names
from pipelines.formats.spans import Span, spans, texts

TASKS: frozenset[Task] = frozenset({"ner"})

# projectconfig.py of brat's server: a type matches ^[a-zA-Z0-9_-]*$; a line of hyphens draws a line between types.
_NOT_IN_A_TYPE = re.compile(r"[^A-Za-z0-9_-]|\A-+\Z")
_NOT_IN_A_CAPTION = re.compile(r"[<>|\s\x00-\x1f\x7f\ud800-\udfff]+")  # it has a meaning in visual.conf, or none
_LINE_BREAKS = re.compile("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+")  # str.splitlines, by which brat reads
_CARRIAGE_RETURNS = re.compile("\r(\n?)")
_OTHER_FILE = re.compile(r"\.(?=(ann|a1|a2|co|rel)\Z)")  # what brat would take for another file's name
_FILE = re.compile(r"\.(?=(ann|txt|conf)\Z)")


def write(entries: Iterable[Exported], *, labels: Sequence[str], out: Path) -> LeftOut:
    """Write a ``.txt`` and a ``.ann`` file for each text, ``annotation.conf`` and ``visual.conf``: a brat collection.

    A span is a line ``T1 TYPE 6 12 text``, offsets counting code points; a note on it (``#1 AnnotatorNotes T1``) holds
    its score and the item's route. brat wants no line break in a span: one that has some is written as the fragments
    between them (``6 12;14 20``). It may only overlap others because ``annotation.conf`` says so. Sources:
    brat.nlplab.org/standoff.html and configuration.html.

    Types are made of ASCII letters, digits, ``_`` and ``-``; ``visual.conf`` has brat show labels as they are, but for
    control characters and ``< > |``. In the texts each carriage return becomes a space before a line feed and a line
    feed elsewhere, for some readers would take CR LF for one character and count all that follows one too low.

    A file is named after its item (``safe_path``), with the suffix added to the id's own. The dot of an own suffix that
    means something to brat (``.ann``) is written ``%2E``.
    """
    left_out = LeftOut()
    names = label_names(labels, left_out, forbidden=_NOT_IN_A_TYPE)
    _write(out / "annotation.conf", _types(names))
    _write(out / "visual.conf", _captions(names))
    for entry, text in texts(entries, left_out):
        found = spans(entry.result, text, left_out)
        document = out / _document(entry.item.id)
        document.parent.mkdir(parents=True, exist_ok=True)
        left_out["carriage returns"] += text.count("\r")
        _write(document.with_name(f"{document.name}.txt"), [_CARRIAGE_RETURNS.sub(_line_feed, text)])
        _write(document.with_name(f"{document.name}.ann"), _annotations(entry, text, found, names, left_out))
    return +left_out  # without the zeros


def _write(file: Path, lines: Iterable[str]) -> None:
    with file.open("w", encoding="utf-8", newline="\n") as opened:
        opened.writelines(lines)


def _types(names: Mapping[str, str]) -> Iterator[str]:
    yield "[entities]\n"
    yield from (f"{name}\n" for name in names.values())
    yield "\n[relations]\n<OVERLAP>\tArg1:<ENTITY>, Arg2:<ENTITY>, <OVL-TYPE>:<ANY>\n\n[events]\n\n[attributes]\n"


def _captions(names: Mapping[str, str]) -> Iterator[str]:
    yield "[labels]\n"
    for label, name in names.items():
        caption = _NOT_IN_A_CAPTION.sub(" ", label).strip(" !")  # a leading "!" would hide the type
        yield f"{name} | {caption}\n" if caption else f"{name}\n"
    yield "\n[drawing]\nSPAN_DEFAULT\tfgColor:black, bgColor:lightgreen, borderColor:darken\n"
    yield "ARC_DEFAULT\tcolor:black\nATTRIBUTE_DEFAULT\tglyph:*\n"


def _document(item_id: str) -> PurePosixPath:
    """A path without the suffix: no folder is called like a file, no document like a file of another kind."""
    path = safe_path(item_id)
    folders = (_FILE.sub("%2E", part) for part in path.parts[:-1])
    return PurePosixPath(*folders, _OTHER_FILE.sub("%2E", path.name))


def _line_feed(carriage_return: re.Match[str]) -> str:
    return " \n" if carriage_return[1] else "\n"


def _annotations(
    entry: Exported, text: str, found: Sequence[Span], names: Mapping[str, str], left_out: LeftOut
) -> Iterator[str]:
    number, decision = 0, entry.result.decision
    for span in found:
        fragments = list(_fragments(text, span))
        if not fragments:
            left_out["spans of white space alone"] += 1
            continue
        number += 1
        offsets = ";".join(f"{start} {end}" for start, end in fragments)
        marked = " ".join(text[start:end] for start, end in fragments)
        yield f"T{number}\t{names[span.annotation.label]} {offsets}\t{marked}\n"
        score, score_kind = certainty(span.annotation)
        route = f"; route {decision.route}" if decision else ""
        yield f"#{number}\tAnnotatorNotes T{number}\t{score_kind} {score}{route}\n"


def _fragments(text: str, span: Span) -> Iterator[tuple[int, int]]:
    """The ranges between a span's line breaks in which there is something to see."""
    start = span.start
    for line_break in _LINE_BREAKS.finditer(text, span.start, span.end):
        if not text[start : line_break.start()].isspace() and start < line_break.start():
            yield start, line_break.start()
        start = line_break.end()
    if start < span.end and not text[start : span.end].isspace():
        yield start, span.end
