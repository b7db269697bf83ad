"""Tests that the library srt finds in the subtitles what went into them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from pipelines.formats import srt
from pipelines.formats.exported import Exported
from pipelines.formats.names import file_of
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
def srt_library() -> Iterator[Reader]:
    with reader("speech", "srt") as library:
        yield library


def read(library: Reader, *entries: Exported) -> list[Any]:
    """The subtitles that the library finds in each recording's file."""
    with TemporaryDirectory() as folder:
        write(srt, *entries, out=Path(folder))
        return [library.ask(path=str(folder / file_of(entry.item.id, ".srt"))) for entry in entries]


def test_segments_are_numbered_subtitles(srt_library: Reader) -> None:
    labels = *a_segment("good bye", 5.0, 6.5, id="1"), *a_segment("hello", 1.0, 2.0, id="0")

    (found,) = read(srt_library, a_recording("call.wav", *labels))

    assert found == [[1, 1.0, 2.0, "hello"], [2, 5.0, 6.5, "good bye"]]


def test_segments_that_overlap_stay_as_they_are(srt_library: Reader) -> None:
    labels = *a_segment("one", 0.0, 10.0, id="0"), *a_segment("two", 4.0, 6.0, id="1")

    (found,) = read(srt_library, a_recording("call.wav", *labels))

    assert [times for _, *times, _ in found] == [[0.0, 10.0], [4.0, 6.0]]


def test_a_text_that_looks_like_a_subtitle_is_none(srt_library: Reader) -> None:
    text = "one\n\n2\n00:00:01,000 --> 00:00:02,000\ntwo"

    (found,) = read(srt_library, a_recording("a.wav", a_label("0", text, 0.0, 1.0)))

    assert found == [[1, 0.0, 1.0, "one 2 00:00:01,000 --> 00:00:02,000 two"]]


def test_words_without_segments_are_subtitles(srt_library: Reader) -> None:
    (found,) = read(srt_library, a_recording("a.wav", *a_segment("hello there", 0.0, 1.0)[1:]))

    assert found == [[1, 0.0, 1.0, "hello there"]]


def test_a_recording_without_speech_has_an_empty_file(srt_library: Reader) -> None:
    assert read(srt_library, a_recording("quiet.wav")) == [[]]


def test_hours_have_as_many_digits_as_they_need(srt_library: Reader) -> None:
    (found,) = read(srt_library, a_recording("a.wav", *a_segment("late", 360_000.0, 360_000.9999)))

    assert found == [[1, 360_000.0, 360_001.0, "late"]]


def test_what_subtitles_cannot_hold_is_counted(tmp_path: Path) -> None:
    call = a_recording("call.wav", *a_segment("hello there", 0.0, 1.0), a_label("9", None, 3.0, 4.0))

    left_out = write(srt, call, a_broken_recording(), out=tmp_path)

    assert left_out == {
        "scores": 1,
        "attributes": 1,
        "times and scores of words": 2,
        "segments without text": 1,
        "items that failed": 1,
    }


def test_the_file_is_named_after_the_item() -> None:
    files = written(srt, a_recording("calls/one two.wav", *a_segment("hello", 0.0, 1.0)))

    assert files == {"calls/one two.wav.srt": "1\n00:00:00,000 --> 00:00:01,000\nhello\n\n"}


def test_ten_thousand_segments_are_written(srt_library: Reader) -> None:
    labels = [label for n in range(10_000) for label in a_segment(f"said {n}", n, n + 0.5, id=str(n))[:1]]

    (found,) = read(srt_library, a_recording("long.wav", *labels))

    assert found[9_999] == [10_000, 9_999.0, 9_999.5, "said 9999"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(hostile_recordings())
def test_whatever_is_said_comes_back(srt_library: Reader, entries: list[Exported]) -> None:
    found = read(srt_library, *entries)

    for entry, subtitles in zip(entries, found, strict=True):
        said = [one for one in utterances(entry.result, Counter()) if one.text]
        assert subtitles == [
            [number, one.start_ms / 1000, one.end_ms / 1000, one.text] for number, one in enumerate(said, start=1)
        ]
