"""Writes named entities in the columns of the CoNLL-2003 shared task."""

from __future__ import annotations

import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from operator import ne
from pathlib import Path

from models.types import Task
from pipelines.formats.exported import Exported, LeftOut
from pipelines.formats.label_names import label_names
from pipelines.formats.spans import Span, apart, spans, texts, trimmed
from pipelines.formats.words import characters, words

TASKS: frozenset[Task] = frozenset({"ner"})

_NOT_IN_A_COLUMN = re.compile(r"[\s\ud800-\udfff]")


def write(entries: Iterable[Exported], *, labels: Sequence[str], out: Path) -> LeftOut:
    """Write ``prelabel.conll``, and ``documents.jsonl`` with the ids of its documents in the same order.

    A document begins with ``-DOCSTART- -X- O O``, a sentence ends with an empty line, a token has a line
    ``TOKEN -X- _ TAG``: there is nobody to say its part of speech (``-X-``) and its chunk (``_``). Tags are BIO (IOB2:
    each entity begins with ``B-``). Source: Tjong Kim Sang and De Meulder (2003), "Introduction to the CoNLL-2003
    Shared Task"; the first line is that of the task's own files, which spaCy's converter looks for.

    A token is a word (``words``) or a part of one where an entity begins or ends; a sentence is a line, or the lines
    that an entity joins. White space has no place, so an entity is its tokens. One that begins or ends within a
    character is widened to it. Of entities that overlap the surest is written, of equally sure ones the longest.
    """
    left_out = LeftOut()
    names = label_names(labels, left_out, forbidden=_NOT_IN_A_COLUMN)
    with (
        (out / "prelabel.conll").open("w", encoding="utf-8", newline="\n") as columns,
        (out / "documents.jsonl").open("w", encoding="ascii", newline="\n") as documents,
    ):
        for entry, text in texts(entries, left_out):
            entities = _entities(spans(entry.result, text, left_out), text, left_out)
            columns.write("-DOCSTART- -X- O O\n\n")
            for sentence in _sentences(text, entities, names):
                columns.writelines(f"{token} -X- _ {tag}\n" for token, tag in sentence)
                columns.write("\n")
            documents.write(json.dumps({"id": entry.item.id}) + "\n")
    return +left_out  # without the zeros


def _entities(found: Sequence[Span], text: str, left_out: LeftOut) -> list[Span]:
    """What can be told by tags: spans of whole characters, with more than white space in them, none over another."""
    if not found:
        return []
    edges = characters(text)
    whole = [_widened(span, edges) for span in found]
    solid = trimmed(whole, [(start, end) for start, end in pairwise(edges) if not _is_blank(text[start:end])])
    clear = apart(solid)
    left_out["spans that were widened to whole characters"] += sum(map(ne, found, whole))
    left_out["spans of white space alone"] += len(whole) - len(solid)
    left_out["spans that overlap another"] += len(solid) - len(clear)
    left_out["scores"] += len(clear)
    return clear


def _widened(span: Span, edges: Sequence[int]) -> Span:
    return replace(span, start=edges[bisect_right(edges, span.start) - 1], end=edges[bisect_left(edges, span.end)])


def _sentences(text: str, entities: Sequence[Span], names: Mapping[str, str]) -> Iterator[list[tuple[str, str]]]:
    """The tokens of each line with their tags; lines that an entity joins are one."""
    sentence, remaining = list[tuple[str, str]](), iter(entities)
    entity, is_begun = next(remaining, None), False
    for start, end in words(text, borders=(at for span in entities for at in (span.start, span.end))):
        while entity and entity.end <= start:
            entity, is_begun = next(remaining, None), False
        is_inside, word = entity is not None and entity.start <= start, text[start:end]
        if not _is_blank(word):
            tag = f"{'I' if is_begun else 'B'}-{names[entity.annotation.label]}" if entity and is_inside else "O"
            sentence.append((word, tag))
            is_begun = is_inside
        elif sentence and not is_inside and word.splitlines() != [word]:
            yield sentence
            sentence = []
    if sentence:
        yield sentence


def _is_blank(word: str) -> bool:
    """Whether a word would split a line; an accent upon a space goes with it."""
    return any(character.isspace() for character in word)
