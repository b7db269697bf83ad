"""Spells labels and ids in characters that a format can hold."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence, Set

from pipelines.formats.exported import LeftOut

_ANY_LENGTH = 1 << 30


def label_names(
    labels: Sequence[str], left_out: LeftOut, *, forbidden: re.Pattern[str], longest: int = _ANY_LENGTH
) -> dict[str, str]:
    """A name for each label; different labels have different names.

    A label that the format can hold is its own name. In any other what is forbidden becomes ``_``, and it is counted.

    Args:
        longest: how many characters a name may have.
    """
    names = {label: label for label in labels if label and len(label) <= longest and not forbidden.search(label)}
    if len(names) < len(labels):
        left_out["labels that were given another name"] += len(labels) - len(names)
    taken, tried = set(names), Counter[str]()
    for label in labels:
        if label not in names:
            stem = forbidden.sub("_", label)[:longest] or "_"
            names[label] = _not_taken(stem, taken, tried, longest=longest)
            taken.add(names[label])
    return {label: names[label] for label in labels}


def _not_taken(stem: str, taken: Set[str], tried: Counter[str], *, longest: int) -> str:
    """The stem, or the first of stem_2, stem_3 and so on that is no name yet; ``tried`` is where to go on."""
    name = stem
    while name in taken:
        tried[stem] += 1
        ending = f"_{tried[stem] + 1}"
        name = stem[: longest - len(ending)] + ending
    return name


def plain_id(item_id: str) -> str:
    r"""An id without what UTF-8 and PostgreSQL cannot hold: lone surrogates become ``\udce9``, NUL ``\x00``."""
    return item_id.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
