"""Writes JSON piece by piece, so that a file may be longer than memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

Add = Callable[[object], None]


def to_json(value: object) -> str:
    """JSON in one line, in UTF-8 as it is."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


@contextmanager
def json_array(file: Path, *, key: str = "", head: Mapping[str, object] | None = None) -> Iterator[Add]:
    """A JSON document whose one long array is written element by element, each on a line of its own.

    Args:
        key: the array's name in an object; without one the document is the array itself.
        head: what stands before the array in that object.
    """
    opening = "["
    if key:
        opening = "{" + "".join(f"{to_json(name)}:{to_json(value)},\n" for name, value in (head or {}).items())
        opening += f"{to_json(key)}:["
    with file.open("w", encoding="utf-8", newline="\n") as document:
        document.write(opening)
        separator = "\n"

        def add(element: object) -> None:
            nonlocal separator
            document.write(separator + to_json(element))
            separator = ",\n"

        yield add
        document.write("\n]}\n" if key else "\n]\n")


@contextmanager
def json_lines(file: Path) -> Iterator[Add]:
    """JSON Lines in UTF-8."""
    with file.open("w", encoding="utf-8", newline="\n") as lines:

        def add(value: object) -> None:
            lines.write(to_json(value) + "\n")

        yield add
