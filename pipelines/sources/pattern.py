"""Matches paths against a pattern while a tree is walked: ``photos/**/*.jpg``, ``shard-{000..010}.tar``."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from models.errors import ConfigError

_MAGIC = re.compile(r"[*?\[]|\{[^{}/]*(?:,|\.\.)[^{}/]*\}")
_BRACES = re.compile(r"\{([^{}]*(?:,|\.\.)[^{}]*)\}")
_RANGE = re.compile(r"(\d{1,9})\.\.(\d{1,9})")
_MOST = 100_000  # of what braces may stand for


class Pattern:
    """A path with ``*``, ``?``, ``[…]`` within a part, ``**`` for any number of parts, and braces."""

    def __init__(self, text: str) -> None:
        """
        Raises:
            ConfigError: its braces stand for more than 100 000 paths.
        """
        self._text = text
        self._ways = tuple(tuple(filter(None, way.split("/"))) for way in expanded(text))

    def __str__(self) -> str:
        return self._text

    def start(self) -> Progress:
        return _closed(self._ways, {(way, 0) for way in range(len(self._ways))})


@dataclass(frozen=True)
class Progress:
    """How far a path has come in a pattern; a path is built part by part with ``then``.

    ``places`` are pairs: which of the pattern's ways, and how many of its parts have been matched.
    """

    ways: tuple[tuple[str, ...], ...]
    places: frozenset[tuple[int, int]]

    @cached_property
    def is_done(self) -> bool:
        """Whether the path as it is matches."""
        return any(place == len(self.ways[way]) for way, place in self.places)

    @cached_property
    def is_possible(self) -> bool:
        """Whether something below the path can match."""
        return any(place < len(self.ways[way]) for way, place in self.places)

    @cached_property
    def _takes_all(self) -> bool:
        return any(self.ways[way][place:] == ("**",) for way, place in self.places)

    def then(self, part: str) -> Progress:
        if self._takes_all:
            return self
        places = set[tuple[int, int]]()
        for way, place in self.places:
            if place == len(self.ways[way]):
                continue
            wanted = self.ways[way][place]
            if wanted == "**":
                places.add((way, place))
            elif fnmatch.fnmatchcase(part, wanted):
                places.add((way, place + 1))
        return _closed(self.ways, places)


def is_pattern(text: str) -> bool:
    """Whether there is anything in a path that stands for other than itself."""
    return _MAGIC.search(text) is not None


def root_and_rest(path: str) -> tuple[str, str]:
    """The folder before the first part that stands for other than itself, and what follows."""
    parts = path.split("/")
    first = next((at for at, part in enumerate(parts) if is_pattern(part)), len(parts) - 1)
    return "/".join(parts[:first]) or "/", "/".join(parts[first:])


def expanded(text: str) -> list[str]:
    """What a text with braces stands for: ``{a,b}`` either, ``{000..010}`` every number, of the same width.

    Raises:
        ConfigError: more than 100 000 texts.
    """
    choices, count = list[list[str]](), 1
    for at, piece in enumerate(_BRACES.split(text)):
        choices.append(list(_choices(piece)) if at % 2 else [piece])
        count *= len(choices[-1])
        if count > _MOST:
            raise ConfigError(f"the braces in '{text[:100]}' stand for more than {_MOST} paths; use * or give a folder")
    return ["".join(choice) for choice in product(*choices)]


def _choices(braces: str) -> Iterator[str]:
    numbers = _RANGE.fullmatch(braces)
    if numbers is None:
        yield from braces.split(",")
        return
    first, last = int(numbers[1]), int(numbers[2])
    width = len(numbers[1]) if numbers[1].startswith("0") else 0
    for number in range(first, min(last, first + _MOST) + 1):
        yield f"{number:0{width}d}"


def _closed(ways: tuple[tuple[str, ...], ...], places: set[tuple[int, int]]) -> Progress:
    """With the places behind every ``**``, which may also stand for no part at all."""
    for way, place in tuple(places):
        while place < len(ways[way]) and ways[way][place] == "**":
            place += 1
            places.add((way, place))
    return Progress(ways, frozenset(places))
