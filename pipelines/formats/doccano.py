"""Writes named entities as the JSON Lines that doccano imports."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from models.types import Task
from pipelines.formats.exported import Exported, LeftOut, certainty
from pipelines.formats.label_names import label_names, plain_id
from pipelines.formats.spans import Span, spans, texts

TASKS: frozenset[Task] = frozenset({"ner"})

_NOT_IN_POSTGRESQL = re.compile("[\x00\ud800-\udfff]")
_LONGEST_LABEL = 100  # label_types.models.LabelType.text
_LAST_OF_ONE_UNIT = "\uffff"

Json = str | int | float | None


def write(entries: Iterable[Exported], *, labels: Sequence[str], out: Path) -> LeftOut:
    """Write ``doccano.jsonl``, an item a line, for a project of the kind "sequence labeling".

    Such a project reads ``text`` and ``label`` (import as JSONL). With relations switched on it can read ``entities``
    and ``relations`` instead (import as JSONL(Relation)). What it does not read it shows as the text's metadata: there
    are the scores, in ``entities``, and the item's id. A project in which "allow overlapping entity" is off leaves out
    what overlaps an earlier span.

    Offsets count UTF-16 code units, as doccano's editor does: a character beyond U+FFFF, such as most emoji, counts
    twice (doccano/doccano#2290, #2484). A project that counts grapheme clusters as one character shows spans after an
    emoji or a combining mark too far right. Texts without such characters read the same in all three.

    The file is ASCII, so that doccano cannot guess another encoding. It takes no empty text.
    """
    left_out = LeftOut()
    names = label_names(labels, left_out, forbidden=_NOT_IN_POSTGRESQL, longest=_LONGEST_LABEL)
    number = 0
    with (out / "doccano.jsonl").open("w", encoding="ascii", newline="\n") as lines:
        for entry, text in texts(entries, left_out):
            found = spans(entry.result, text, left_out)
            if text:
                lines.write(json.dumps(_line(entry, text, found, names, first=number + 1)) + "\n")
                number += len(found)
            else:
                left_out["empty texts"] += 1
    return left_out


def _line(
    entry: Exported, text: str, found: Sequence[Span], names: Mapping[str, str], *, first: int
) -> dict[str, object]:
    """An item; every line has the same fields, because doccano makes a table of them."""
    units = _units(text)
    entities = [_entity(span, names, units, id=number) for number, span in enumerate(found, start=first)]
    decision = entry.result.decision
    return {
        "id": plain_id(entry.item.id),
        "text": text,
        "label": [[entity["start_offset"], entity["end_offset"], entity["label"]] for entity in entities],
        "entities": entities,
        "relations": [],
        "route": decision.route if decision else None,
    }


def _entity(span: Span, names: Mapping[str, str], units: Callable[[int], int], *, id: int) -> dict[str, Json]:
    score, score_kind = certainty(span.annotation)
    return {
        "id": id,
        "label": names[span.annotation.label],
        "start_offset": units(span.start),
        "end_offset": units(span.end),
        "score": score,
        "score_kind": score_kind,
    }


def _units(text: str) -> Callable[[int], int]:
    """How many UTF-16 code units come before a code point."""
    twice = [at for at, character in enumerate(text) if character > _LAST_OF_ONE_UNIT]
    return lambda at: at + bisect_left(twice, at)
