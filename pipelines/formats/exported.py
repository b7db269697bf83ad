"""Holds what every export format is given, and the rules that all formats share."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol

from models.types import Annotation, Item, Task
from pipelines.formats.results import Result

LeftOut = Counter[str]  # what a format could not hold, in words ("masks without a box"), and how often

_LONGEST_PART = 200  # bytes; file systems take 255, and a suffix follows
_KEPT = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.+=@,()[]{} ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A result and the item that it belongs to.

    ``text`` is a text item's text, as the model counted it; None for other media, and where it is not known any more.
    """

    result: Result
    item: Item
    text: str | None = None


class Format(Protocol):
    """What a module in this folder offers to be an export format.

    ``TASKS`` are those whose results it can hold. ``write`` writes its files into ``out``, a folder that exists, and
    says what it left out. It reads ``entries`` once and holds no more than a few of them at a time, unless its
    docstring says otherwise. ``labels`` are all labels that occur in the entries, in alphabetical order; or
    all classes of an ontology in its order, and after them what else occurs.
    """

    TASKS: frozenset[Task]

    def write(self, entries: Iterable[Exported], *, labels: Sequence[str], out: Path) -> LeftOut: ...


def labelled(entries: Iterable[Exported], left_out: LeftOut) -> Iterator[Exported]:
    """The entries that have a pre-label; items that failed are counted as left out."""
    for entry in entries:
        if entry.result.status == "failed":
            left_out["items that failed"] += 1
        else:
            yield entry


def objects(result: Result) -> Iterator[tuple[Annotation, Annotation | None]]:
    """The annotations that stand for one object each, with the annotation that each was made from, if any.

    A box that a mask or a polygon was made from is not an object of its own.
    """
    by_id: Mapping[str, Annotation] = {annotation.id: annotation for annotation in result.annotations}
    refined = {a.parent_id for a in result.annotations if a.geometry.kind in ("mask", "polygon")}
    for annotation in result.annotations:
        if not (annotation.geometry.kind == "box" and annotation.id in refined):
            yield annotation, by_id.get(annotation.parent_id or "")


def certainty(annotation: Annotation) -> tuple[float, Literal["confidence", "score"]]:
    """The number to write where a format has a place for one, and what it is: calibrated, or the model's own."""
    if annotation.confidence is not None:
        return annotation.confidence, "confidence"
    return annotation.score, "score"


def safe_path(item_id: str) -> PurePosixPath:
    """A relative path below a folder for what belongs to an item; different ids have different paths.

    Slashes in an id stay folders. What a file system or a tool may trip over (control characters, ``\\``, ``:``,
    quotes, ``..``, a leading dot, signs outside ASCII letters and digits) is written as in a URL, ``%`` included. A
    part that is too long ends in its digest.
    """
    return PurePosixPath(*(_safe_part(part) for part in item_id.split("/")))


def _safe_part(part: str) -> str:
    encoded = part.encode("utf-8", "surrogatepass")
    written = "".join(chr(byte) if chr(byte) in _KEPT else f"%{byte:02X}" for byte in encoded)
    if written.startswith("."):
        written = "%2E" + written[1:]
    if written != written.rstrip(" ."):
        written = written[:-1] + f"%{ord(written[-1]):02X}"
    if len(written) > _LONGEST_PART:
        digest = hashlib.sha256(encoded).hexdigest()[:16]
        written = f"{written[: _LONGEST_PART - 17]}~{digest}"
    return written or "%00"
