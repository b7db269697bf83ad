"""Speaks a text with espeak-ng and says when each word begins and ends."""

from __future__ import annotations

import ctypes
import ctypes.util
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np

SAMPLE_RATE_HZ = 16_000
_SYNCHRONOUS, _UTF8 = 2, 1
_RATE, _PITCH, _RANGE, _WORD_GAP = 1, 3, 4, 7
_END_OF_EVENTS, _WORD, _END = 0, 1, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """An espeak-ng voice (language+variant), its speed in words a minute, pitch and pitch range 0–99."""

    name: str
    rate_wpm: int = 165
    pitch: int = 50
    pitch_range: int = 50
    word_gap_10ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenWord:
    """A word and where it lies in the recording, in seconds."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """A recording, (n,) float32 in [-1, 1] at 16 kHz, and its words."""

    samples: np.ndarray
    words: tuple[SpokenWord, ...]


class _EventId(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class Espeak:
    """The espeak-ng library of this process; one text at a time."""

    def __init__(self) -> None:
        name = ctypes.util.find_library("espeak-ng")
        if name is None:
            raise RuntimeError("found no libespeak-ng; install espeak-ng (only making speech data needs it)")
        self._library = ctypes.CDLL(name)
        self._native_rate_hz = int(self._library.espeak_Initialize(_SYNCHRONOUS, 0, None, 0))
        self._callback = _Callback(self._receive)
        self._library.espeak_SetSynthCallback(self._callback)
        self._pieces: list[np.ndarray] = []
        self._starts: list[tuple[int, float]] = []
        self._end_s = 0.0

    def _receive(self, wav: ctypes._Pointer[ctypes.c_short], count: int, events: ctypes._Pointer[_Event]) -> int:
        if wav and count > 0:
            self._pieces.append(np.ctypeslib.as_array(wav, (count,)).copy())
        index = 0
        while events[index].type != _END_OF_EVENTS:
            event = events[index]
            if event.type == _WORD:
                self._starts.append((event.text_position - 1, event.audio_position / 1000))
            elif event.type == _END:
                self._end_s = event.audio_position / 1000
            index += 1
        return 0

    def say(self, text: str, voice: Voice) -> Speech:
        """The text as speech, cut to where the sound is.

        Raises:
            ValueError: espeak-ng has no voice of that name.
        """
        import soxr

        if self._library.espeak_SetVoiceByName(voice.name.encode()):
            raise ValueError(f"espeak-ng has no voice {voice.name!r}; see espeak-ng --voices")
        settings = {
            _RATE: voice.rate_wpm,
            _PITCH: voice.pitch,
            _RANGE: voice.pitch_range,
            _WORD_GAP: voice.word_gap_10ms,
        }
        for parameter, value in settings.items():
            self._library.espeak_SetParameter(parameter, value, 0)
        self._pieces, self._starts, self._end_s = [], [], 0.0
        data = text.encode()
        self._library.espeak_Synth(data, ctypes.c_size_t(len(data) + 1), 0, 1, 0, _UTF8, None, None)
        native = np.concatenate(self._pieces).astype(np.float32) / 32768
        samples = soxr.resample(native, self._native_rate_hz, SAMPLE_RATE_HZ).astype(np.float32)
        return _trimmed(samples, self._spoken_words(text))

    def _spoken_words(self, text: str) -> list[SpokenWord]:
        """Joins espeak's word events (one per word, in order of the text) with the words of the text."""
        start_of = dict(self._starts)
        position, found = 0, list[tuple[str, float]]()
        for word in text.split():
            position = text.index(word, position)
            if position in start_of:
                found.append((word, start_of[position]))
            position += len(word)
        bounds = pairwise([start for _, start in found] + [self._end_s])
        return [SpokenWord(text=word, start_s=a, end_s=b) for (word, _), (a, b) in zip(found, bounds, strict=True)]


def _trimmed(samples: np.ndarray, words: list[SpokenWord]) -> Speech:
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max(initial=1e-6))
    first, last = int(loud[0]), int(loud[-1]) + 1
    shift, length = first / SAMPLE_RATE_HZ, (last - first) / SAMPLE_RATE_HZ
    moved = tuple(
        SpokenWord(
            text=word.text,
            start_s=round(float(np.clip(word.start_s - shift, 0, length)), 3),
            end_s=round(float(np.clip(word.end_s - shift, 0, length)), 3),
        )
        for word in words
    )
    return Speech(samples=samples[first:last], words=moved)


@cache
def espeak() -> Espeak:
    """The one engine of this process."""
    return Espeak()
