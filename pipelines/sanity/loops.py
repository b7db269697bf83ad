"""Finds phrases that come again and again in a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_LONGEST_PHRASE = 30  # words; a long sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """``times`` turns in a row of a phrase of ``length`` words, the first of which begins at ``start``."""

    start: int
    length: int
    times: int

    @property
    def repeats(self) -> range:
        """The positions of all turns but the first."""
        return range(self.start + self.length, self.start + self.length * self.times)


def find_loop(words: Sequence[str], *, times: int, least_words: int, sizes: Sequence[int] | None = None) -> Loop | None:
    """The first loop of the shortest phrase, or None.

    Args:
        words: compared as they are.
        times: a loop has at least so many turns, two or more.
        least_words: a loop has at least so many words, in all its turns together.
        sizes: as how many words each counts, else one.
    """
    if len(words) < times:
        return None
    number = {word: index for index, word in enumerate(dict.fromkeys(words))}
    codes = np.array([number[word] for word in words])
    before = np.concatenate([[0], np.cumsum(sizes if sizes is not None else np.ones(len(words), dtype=int))])
    for length in range(1, min(len(words) // times, _LONGEST_PHRASE) + 1):
        is_again = np.concatenate([[False], codes[length:] == codes[:-length], [False]])
        starts, ends = np.flatnonzero(np.diff(is_again.astype(np.int8))).reshape(-1, 2).T
        turns = (ends - starts) // length + 1
        is_loop = (turns >= times) & (before[starts + turns * length] - before[starts] >= least_words)
        if is_loop.any():
            first = int(is_loop.argmax())
            return Loop(start=int(starts[first]), length=length, times=int(turns[first]))
    return None


def without_loops(
    words: Sequence[str], *, times: int, least_words: int, sizes: Sequence[int] | None = None
) -> list[int]:
    """The positions that are left once no loop is: of each, the first turn. Arguments as for ``find_loop``."""
    left = list(range(len(words)))
    of_word = list(sizes) if sizes is not None else [1] * len(words)
    while loop := find_loop(
        [words[place] for place in left],
        times=times,
        least_words=least_words,
        sizes=[of_word[place] for place in left],
    ):
        del left[loop.repeats.start : loop.repeats.stop]
    return left
