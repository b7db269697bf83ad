"""Writes named entities as spaCy documents."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import ConfigError
from models.types import Task
from pipelines.formats.exported import Exported, LeftOut, certainty
from pipelines.formats.label_names import label_names, plain_id
from pipelines.formats.spans import Span, apart, spans, texts, trimmed
from pipelines.formats.words import words

TASKS: frozenset[Task] = frozenset({"ner"})

_KEY = "prelabel"
_TOKENS_A_FILE = 500_000  # a file is packed in memory: 25 bytes a token, and its strings
_NOT_IN_UTF8 = re.compile("[\ud800-\udfff]")


def write(
    entries: Iterable[Exported], *, labels: Sequence[str], out: Path, tokens_a_file: int = _TOKENS_A_FILE
) -> LeftOut:
    """Write ``prelabel-00001.spacy`` and so on, DocBins of a bounded size; spaCy reads a folder of them.

    Every span is in ``doc.spans["prelabel"]``. That group's ``attrs`` hold the ``scores`` in the same order, where
    spaCy's own span categorizer has them, and the ``score_kinds``. ``doc.ents`` must not overlap and, for spaCy's
    trainer, neither begin nor end with white space: it holds the surest of the spans that overlap, of equally sure ones
    the longest, without the white space at their ends. ``doc.user_data["prelabel"]`` holds the item's id and route.

    A document's tokens make up its text exactly. A token is a word (``words``), or a part of one where a span begins
    or ends, so that every span is one of whole tokens.

    Args:
        tokens_a_file: how many a file has before the next one is begun.

    Raises:
        ConfigError: spaCy is not installed. Only its tables of symbols tell the numbers that stand for the strings.
    """
    spacy = _spacy()
    left_out = LeftOut()
    names = label_names(labels, left_out, forbidden=_NOT_IN_UTF8)
    for number, docs in enumerate(_files(spacy, entries, names, left_out, tokens_a_file=tokens_a_file), start=1):
        docs.to_disk(out / f"prelabel-{number:05}.spacy")
    return left_out


def _spacy() -> Any:
    try:
        import spacy.tokens  # pyright: ignore[reportMissingImports]
    except ImportError as err:
        raise ConfigError(
            "this format needs spaCy, which is not installed; get it with: pip install 'prelabel[spacy]'"
        ) from err
    return spacy


def _files(
    spacy: Any, entries: Iterable[Exported], names: Mapping[str, str], left_out: LeftOut, *, tokens_a_file: int
) -> Iterator[Any]:
    """The DocBins to write, one at least. Each has a vocabulary of its own, for these only ever grow."""
    size, vocab, docs = 0, spacy.Vocab(), _doc_bin(spacy)
    for entry, text in texts(entries, left_out):
        if size >= tokens_a_file:
            yield docs
            size, vocab, docs = 0, spacy.Vocab(), _doc_bin(spacy)
        doc = _doc(spacy.tokens, vocab, text, spans(entry.result, text, left_out), names)
        decision = entry.result.decision
        doc.user_data[_KEY] = {"id": plain_id(entry.item.id), "route": decision.route if decision else None}
        docs.add(doc)
        size += len(doc)
    yield docs


def _doc_bin(spacy: Any) -> Any:
    return spacy.tokens.DocBin(attrs=["ENT_IOB", "ENT_TYPE"], store_user_data=True)


def _doc(spacy_tokens: Any, vocab: Any, text: str, found: Sequence[Span], names: Mapping[str, str]) -> Any:
    tokens, spaces = _tokens(text, found)
    doc = spacy_tokens.Doc(vocab, words=[text[start:end] for start, end in tokens], spaces=spaces)
    first = {start: index for index, (start, _) in enumerate(tokens)}
    last = {end: index for index, (_, end) in enumerate(tokens, start=1)}

    def marked(span: Span) -> Any:
        return spacy_tokens.Span(doc, first[span.start], last[span.end], label=names[span.annotation.label])

    group = spacy_tokens.SpanGroup(doc, name=_KEY, spans=[marked(span) for span in found], attrs=_scores(found))
    doc.spans[_KEY] = group
    solid = [(start, end) for start, end in tokens if not text[start:end].isspace()]
    doc.ents = [marked(span) for span in apart(trimmed(found, solid))]  # none, too: then all tokens are outside
    return doc


def _tokens(text: str, found: Sequence[Span]) -> tuple[list[tuple[int, int]], list[bool]]:
    """The tokens' ranges, and whether a space follows each.

    Such a space is no token of its own, as in spaCy's own tokenizers, unless a span begins or ends with it.
    """
    starts, ends = {span.start for span in found}, {span.end for span in found}
    tokens, spaces = list[tuple[int, int]](), list[bool]()
    for start, end in words(text, borders=starts | ends):
        is_free = start not in starts and end not in ends
        if text[start:end] == " " and is_free and spaces and not spaces[-1]:
            spaces[-1] = True
        else:
            tokens.append((start, end))
            spaces.append(False)
    return tokens, spaces


def _scores(found: Sequence[Span]) -> dict[str, object]:
    certainties = [certainty(span.annotation) for span in found]
    return {
        "scores": np.array([score for score, _ in certainties], dtype=np.float64),
        "score_kinds": [kind for _, kind in certainties],
    }
