"""Tests that pyannote.database finds in an RTTM file the turns that went into it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings

from models.types import Annotation
from pipelines.formats import rttm
from pipelines.formats.exported import Exported
from pipelines.formats.transcript import utterances
from tests.pipelines.formats.readers import Reader, reader
from tests.pipelines.formats.recordings import (
    a_broken_recording,
    a_label,
    a_recording,
    a_segment,
    hostile_recordings,
    write,
    written,
)


@pytest.fixture(scope="module")
def pyannote() -> Iterator[Reader]:
    with reader("speech", "rttm") as library:
        yield library


def read(library: Reader, *entries: Exported) -> dict[str, Any]:
    """The turns of each recording by its id, and their speakers."""
    with TemporaryDirectory() as folder:
        write(rttm, *entries, out=Path(folder))
        found = library.ask(path=f"{folder}/speakers.rttm")
    return {
        _name(recording): [[start, end, _name(speaker)] for start, end, speaker in turns]
        for recording, turns in found.items()
    }


def _name(field: str) -> str:
    return unquote(field, errors="surrogatepass")


def a_turn(speaker: str, start_s: float, end_s: float) -> Annotation:
    return a_label(f"{speaker}{start_s}", None, start_s, end_s, speaker=speaker)


def test_a_segment_with_a_speaker_is_a_turn(pyannote: Reader) -> None:
    labels = *a_segment("hello", 1.0, 2.5, id="0", speaker="ada"), *a_segment("bye", 2.0, 3.0, id="1", speaker="bob")

    assert read(pyannote, a_recording("call.wav", *labels)) == {"call.wav": [[1.0, 2.5, "ada"], [2.0, 3.0, "bob"]]}


def test_the_words_of_a_segment_may_say_who_speaks(pyannote: Reader) -> None:
    segment, *words = a_segment("hello there", 1.0, 2.0)
    spoken = [a_label(word.id, word.text, 1.0, 2.0, parent_id="0", speaker="ada") for word in words]

    assert read(pyannote, a_recording("call.wav", segment, *spoken)) == {"call.wav": [[1.0, 2.0, "ada"]]}


def test_the_score_is_in_the_ninth_field() -> None:
    turn = a_label("0", None, 0.0, 1.0, speaker="ada", score=0.9, confidence=0.25)

    assert written(rttm, a_recording("a.wav", turn)) == {
        "speakers.rttm": "SPEAKER a.wav 1 0.000 1.000 <NA> <NA> ada 0.2500 <NA>\n"
    }


def test_names_that_pandas_takes_for_missing_are_kept(pyannote: Reader) -> None:
    names = ["NA", "nan", "None", "null", "<NA>", "007", "1e5", "N/A", '"', "Jürgen Ω"]

    found = read(pyannote, *(a_recording(name, a_turn(name, 0.0, 1.0)) for name in names))

    assert found == {name: [[0.0, 1.0, name]] for name in names}


def test_what_turns_cannot_hold_is_counted(tmp_path: Path) -> None:
    labels = *a_segment("hello there", 1.0, 2.0, id="0", speaker="ada"), *a_segment("bye", 2.0, 3.0, id="1")

    left_out = write(rttm, a_recording("a", *labels), a_recording("quiet"), a_broken_recording(), out=tmp_path)

    assert left_out == {
        "texts": 1,
        "times and scores of words": 2,
        "segments without a speaker": 1,
        "recordings in which nothing was found": 1,
        "items that failed": 1,
    }


def test_without_speakers_the_file_is_empty() -> None:
    assert written(rttm, a_recording("a.wav", *a_segment("hello", 1.0, 2.0))) == {"speakers.rttm": ""}


def test_ten_thousand_turns_are_written(pyannote: Reader) -> None:
    found = read(pyannote, a_recording("a.wav", *(a_turn(f"s{n}", n, n + 1.5) for n in range(10_000))))

    assert found["a.wav"][9_999] == [9_999.0, 10_000.5, "s9999"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(hostile_recordings())
def test_whoever_speaks_comes_back(pyannote: Reader, entries: list[Exported]) -> None:
    turns = {
        entry.item.id: [
            [one.start_ms, one.end_ms, one.speaker] for one in utterances(entry.result, Counter()) if one.speaker
        ]
        for entry in entries
    }
    if not any(turns.values()):
        return  # pandas reads no empty file

    found = read(pyannote, *entries)

    for item_id, expected in turns.items():
        own = [[round(start * 1000), round(end * 1000), speaker] for start, end, speaker in found.get(item_id, [])]
        assert sorted(own) == sorted(expected)
