"""Cuts recordings into windows of speech, and brings words heard in a window back to the recording's time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

SAMPLE_RATE_HZ = 16_000
WINDOW_S = 30
FRAMES_PER_S = 100
_STEP_S = 5  # lengths that the encoder sees are multiples of it, so that windows of several recordings go together
_PAUSE_MS = 1_000  # a shorter pause does not end a segment


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Up to 30 s of a recording's speech: pieces of it, cut out and joined.

    ``features`` is (mels, frames) float32, 100 frames a second; ``pieces`` are half-open sample ranges.
    """

    features: np.ndarray
    pieces: tuple[tuple[int, int], ...]

    @property
    def speech_s(self) -> float:
        return sum(end - start for start, end in self.pieces) / SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenWord:
    """A recognised word; times in seconds from the beginning of its window, later of its recording."""

    text: str
    start_s: float
    end_s: float
    score: float


def find_speech(samples: np.ndarray) -> list[tuple[int, int]]:
    """Half-open sample ranges, each at most 30 s, in which silero's voice detection hears speech."""
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    if not len(samples):
        return []
    options = VadOptions(max_speech_duration_s=WINDOW_S, min_silence_duration_ms=_PAUSE_MS)
    return [(piece["start"], piece["end"]) for piece in get_speech_timestamps(samples, options)]


def whole(count: int) -> list[tuple[int, int]]:
    """All of a recording, cut every 30 s."""
    size = WINDOW_S * SAMPLE_RATE_HZ
    return [(start, min(start + size, count)) for start in range(0, count, size)]


def join_pieces(pieces: Sequence[tuple[int, int]]) -> Iterator[tuple[tuple[int, int], ...]]:
    """Neighbouring pieces, as many as fit into 30 s."""
    joined, length = list[tuple[int, int]](), 0
    for start, end in pieces:
        if joined and length + end - start > WINDOW_S * SAMPLE_RATE_HZ:
            yield tuple(joined)
            joined, length = [], 0
        joined.append((start, end))
        length += end - start
    if joined:
        yield tuple(joined)


def padded_s(windows: Sequence[Window], *, shortest_s: int) -> int:
    """How many seconds of each of a recording's windows the encoder sees: enough for the longest, 30 at most.

    One length for all of them, told by the recording alone, so that it sounds the same in every batch.
    """
    longest_s = max((window.features.shape[-1] / FRAMES_PER_S for window in windows), default=0.0)
    return min(max(shortest_s, _STEP_S * math.ceil(longest_s / _STEP_S)), WINDOW_S)


def segments(window: Window, words: Sequence[SpokenWord], *, duration_s: float) -> list[list[SpokenWord]]:
    """The window's words in times of the recording, one list for each piece that holds words."""
    moved = [_restored(word, window, duration_s) for word in words]
    return [[word for _, word in group] for _, group in itertools.groupby(moved, key=lambda pair: pair[0])]


def _restored(word: SpokenWord, window: Window, duration_s: float) -> tuple[int, SpokenWord]:
    """The index of the piece in which a word's middle lies, and the word in times of the recording."""
    ends = list(itertools.accumulate((end - start) / SAMPLE_RATE_HZ for start, end in window.pieces))
    middle = (word.start_s + word.end_s) / 2
    piece = next((index for index, end in enumerate(ends) if middle <= end), len(ends) - 1)
    first, last = (sample / SAMPLE_RATE_HZ for sample in window.pieces[piece])
    shift = last - ends[piece]
    start_s, end_s = (min(max(time + shift, first), last, duration_s) for time in (word.start_s, word.end_s))
    return piece, replace(word, start_s=round(start_s, 3), end_s=round(max(start_s, end_s), 3))
