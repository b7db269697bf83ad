"""Tests that webvtt-py finds in the captions what went into them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from pipelines.formats import webvtt
from pipelines.formats.exported import Exported
from pipelines.formats.names import file_of
from pipelines.formats.transcript import clock, utterances
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
def webvtt_py() -> Iterator[Reader]:
    with reader("speech", "webvtt") as library:
        yield library


def read(library: Reader, *entries: Exported) -> list[Any]:
    """What the library finds in each recording's file."""
    with TemporaryDirectory() as folder:
        write(webvtt, *entries, out=Path(folder))
        return [library.ask(path=str(folder / file_of(entry.item.id, ".vtt"))) for entry in entries]


def test_a_segment_is_a_cue(webvtt_py: Reader) -> None:
    (found,) = read(webvtt_py, a_recording("call.wav", *a_segment("hello there", 1.5, 2.25)))

    assert found["cues"] == [["00:00:01.500", "00:00:02.250", "hello there", ""]]


def test_what_a_cue_cannot_hold_is_in_the_note_before_it(webvtt_py: Reader) -> None:
    labels = *a_segment("one two", 0.0, 1.0, id="0", score=0.25), *a_segment("three", 5.0, 6.0, id="1", score=0.75)

    (found,) = read(webvtt_py, a_recording("a.wav", *labels))

    about, *notes = (json.loads(note) for note in found["notes"])
    assert about == {"item_id": "a.wav", "status": "labels", "route": "review"}
    assert notes[0] == {
        "id": "0",
        "label": "speech",
        "score": 0.25,
        "score_kind": "score",
        "attributes": {"language": "en"},
    }
    assert (notes[1]["id"], notes[1]["score"]) == ("1", 0.75)


def test_a_calibrated_number_is_called_a_confidence(webvtt_py: Reader) -> None:
    (found,) = read(webvtt_py, a_recording("a.wav", a_label("0", "a b", 0.0, 1.0, confidence=0.5)))

    note = json.loads(found["notes"][1])
    assert (note["score"], note["score_kind"]) == (0.5, "confidence")


def test_a_speaker_is_the_voice_of_a_cue(webvtt_py: Reader) -> None:
    (found,) = read(webvtt_py, a_recording("a.wav", *a_segment("hello", 0.0, 1.0, speaker="Ada <3 & co")))

    assert found["cues"][0][2:] == ["hello", "Ada <3 & co"]


def test_words_without_segments_are_captions(webvtt_py: Reader) -> None:
    (found,) = read(webvtt_py, a_recording("a.wav", *a_segment("hello there", 0.0, 1.0)[1:]))

    assert found["cues"] == [["00:00:00.000", "00:00:01.000", "hello there", ""]]
    assert json.loads(found["notes"][1]) == {"score": 0.5, "score_kind": "score"}


def test_a_recording_without_speech_has_a_file_without_captions(webvtt_py: Reader) -> None:
    (found,) = read(webvtt_py, a_recording("quiet.wav"))

    assert found["cues"] == []
    assert json.loads(found["notes"][0])["status"] == "nothing_found"


def test_hours_have_as_many_digits_as_they_need(webvtt_py: Reader) -> None:
    (found,) = read(webvtt_py, a_recording("a.wav", *a_segment("late", 360_000.0, 360_000.9999)))

    assert found["cues"][0][:2] == ["100:00:00.000", "100:00:01.000"]


def test_what_captions_cannot_hold_is_counted(tmp_path: Path) -> None:
    call = a_recording("call.wav", *a_segment("hello there", 0.0, 1.0), a_label("9", " ", 3.0, 4.0))

    left_out = write(webvtt, call, a_broken_recording(), out=tmp_path)

    assert left_out == {"times and scores of words": 2, "segments without text": 1, "items that failed": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["call.wav.vtt"]


def test_the_file_is_named_after_the_item_and_reads_well() -> None:
    files = written(webvtt, a_recording("calls/one two.wav", a_label("0", "this & that -->", 0.0, 1.0)))

    assert files == {
        "calls/one two.wav.vtt": """WEBVTT

NOTE {"item_id": "calls/one two.wav", "status": "labels", "route": "review"}

NOTE {"id": "0", "label": "speech", "score": 0.9, "score_kind": "score", "attributes": {}}

00:00:00.000 --> 00:00:01.000
this &amp; that --&gt;
"""
    }


def test_an_arrow_stands_only_between_times(webvtt_py: Reader) -> None:
    call = a_recording("-->", a_label("-->", "a --> b", 0.0, 1.0, label="-->", x="-->", speaker="-->"))

    (file,) = written(webvtt, call).values()
    (found,) = read(webvtt_py, call)

    assert file.count("-->") == 1
    assert found["cues"] == [["00:00:00.000", "00:00:01.000", "a --> b", "-->"]]
    assert json.loads(found["notes"][1])["attributes"] == {"x": "-->", "speaker": "-->"}


def test_ten_thousand_words_are_written(webvtt_py: Reader) -> None:
    words = [a_label(str(n), f"w{n}", n / 4, n / 4, label="word") for n in range(10_000)]

    (found,) = read(webvtt_py, a_recording("long.wav", *words))

    assert " ".join(text for _, _, text, _ in found["cues"]) == " ".join(f"w{n}" for n in range(10_000))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(hostile_recordings())
def test_whatever_is_said_comes_back(webvtt_py: Reader, entries: list[Exported]) -> None:
    found = read(webvtt_py, *entries)

    for entry, captions in zip(entries, found, strict=True):
        said = [one for one in utterances(entry.result, Counter()) if one.text]
        assert captions["cues"] == [
            [clock(one.start_ms, "."), clock(one.end_ms, "."), one.text, one.speaker or ""] for one in said
        ]
        notes = [json.loads(note) for note in captions["notes"]]
        assert notes[0]["item_id"] == entry.item.id
        assert [(note["score"], note["score_kind"]) for note in notes[1:]] == [one.certainty for one in said]
