"""Tests that the library textgrid finds in a TextGrid what went into it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from models.types import Annotation
from pipelines.formats import textgrid
from pipelines.formats.exported import Exported
from pipelines.formats.names import file_of
from pipelines.formats.transcript import spoken
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
def textgrid_library() -> Iterator[Reader]:
    with reader("speech", "textgrid") as library:
        yield library


def read(library: Reader, *entries: Exported) -> list[Any]:
    """The tiers that the library finds in each recording's file."""
    with TemporaryDirectory() as folder:
        write(textgrid, *entries, out=Path(folder))
        return [library.ask(path=str(folder / file_of(entry.item.id, ".TextGrid"))) for entry in entries]


def a_word(text: str, start_s: float, end_s: float) -> Annotation:
    return a_label(f"{text}{start_s}", text, start_s, end_s, label="word")


def test_each_label_is_a_tier_over_the_whole_recording(textgrid_library: Reader) -> None:
    (found,) = read(textgrid_library, a_recording("a.wav", *a_segment("hello there", 1.0, 2.0), duration_s=3.5))

    assert found["end"] == 3.5
    assert found["tiers"] == [
        ["speech", [[0.0, 1.0, ""], [1.0, 2.0, "hello there"], [2.0, 3.5, ""]]],
        ["word", [[0.0, 1.0, ""], [1.0, 1.5, "hello"], [1.5, 2.0, "there"], [2.0, 3.5, ""]]],
    ]


def test_what_overlaps_lies_on_a_further_tier(textgrid_library: Reader) -> None:
    labels = a_label("0", "one", 0.0, 2.0), a_label("1", "two", 1.0, 3.0), a_label("2", "three", 2.0, 3.0)

    (found,) = read(textgrid_library, a_recording("a.wav", *labels, duration_s=3.0))

    assert found["tiers"] == [
        ["speech", [[0.0, 2.0, "one"], [2.0, 3.0, "three"]]],
        ["speech 2", [[0.0, 1.0, ""], [1.0, 3.0, "two"]]],
    ]


def test_a_word_of_no_length_takes_a_millisecond_of_the_next(textgrid_library: Reader) -> None:
    words = a_word("a", 0.0, 1.0), a_word("b", 1.0, 1.0), a_word("c", 1.0, 2.0)

    (found,) = read(textgrid_library, a_recording("a.wav", *words, duration_s=2.0))

    assert found["tiers"] == [["word", [[0.0, 1.0, "a"], [1.0, 1.001, "b"], [1.001, 2.0, "c"]]]]


def test_a_recording_of_unknown_length_ends_with_its_last_label(textgrid_library: Reader) -> None:
    (found,) = read(textgrid_library, a_recording("a.wav", *a_segment("hello", 1.0, 2.0), duration_s=None))

    assert found["end"] == 2.0


def test_a_label_beyond_the_end_makes_the_recording_longer(textgrid_library: Reader) -> None:
    (found,) = read(textgrid_library, a_recording("a.wav", *a_segment("hello", 1.0, 2.0), duration_s=1.5))

    assert found["end"] == 2.0


@pytest.mark.parametrize("duration_s", [None, 0.0, 2.5])
def test_a_recording_without_speech_has_empty_tiers(textgrid_library: Reader, duration_s: float | None) -> None:
    labelled, quiet = a_recording("a.wav", *a_segment("hello", 1.0, 2.0)), a_recording("b.wav", duration_s=duration_s)

    _, found = read(textgrid_library, labelled, quiet)

    end_s = duration_s or 0.001
    assert found["tiers"] == [["speech", [[0.0, end_s, ""]]], ["word", [[0.0, end_s, ""]]]]


def test_without_any_labels_there_is_one_empty_tier(textgrid_library: Reader) -> None:
    (found,) = read(textgrid_library, a_recording("quiet.wav", duration_s=1.0))

    assert found["tiers"] == [["speech", [[0.0, 1.0, ""]]]]


def test_what_a_textgrid_cannot_hold_is_counted(tmp_path: Path) -> None:
    crowd = [a_label(f"c{n}", "ah", 5.0, 6.0) for n in range(11)]
    call = a_recording("call.wav", *a_segment("hello there", 0.0, 1.0), a_label("9", None, 3.0, 4.0), *crowd)

    left_out = write(textgrid, call, a_broken_recording(), out=tmp_path)

    assert left_out == {
        "scores": 12,
        "attributes": 1,
        "labels without text": 1,
        "labels that overlap too many others": 2,
        "items that failed": 1,
    }


def test_the_file_is_as_praat_writes_it() -> None:
    files = written(textgrid, a_recording("a.wav", a_label("0", 'a "b"', 0.0, 1.0), duration_s=1.0))

    assert files["a.wav.TextGrid"].split("\n") == [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0.000",
        "xmax = 1.000",
        "tiers? <exists>",
        "size = 1",
        "item []:",
        "    item [1]:",
        '        class = "IntervalTier"',
        '        name = "speech"',
        "        xmin = 0.000",
        "        xmax = 1.000",
        "        intervals: size = 1",
        "        intervals [1]:",
        "            xmin = 0.000",
        "            xmax = 1.000",
        '            text = "a ""b"""',
        "",
    ]


def test_ten_thousand_words_are_written(textgrid_library: Reader) -> None:
    words = [a_word(f"w{n}", n / 4, n / 4) for n in range(10_000)]

    (found,) = read(textgrid_library, a_recording("long.wav", *words))

    assert [mark for _, _, mark in found["tiers"][0][1] if mark] == [f"w{n}" for n in range(10_000)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(hostile_recordings())
def test_whatever_is_said_comes_back(textgrid_library: Reader, entries: list[Exported]) -> None:
    found = read(textgrid_library, *entries)

    for entry, grid in zip(entries, found, strict=True):
        said = [one for one in spoken(entry.result, Counter()) if one.text]
        intervals = [interval for _, tier in grid["tiers"] for interval in tier if interval[2]]
        starts_ms = {text: sorted(round(s * 1000) for s, _, t in intervals if t == text) for _, _, text in intervals}
        assert sorted(text for _, _, text in intervals) == sorted(one.text for one in said)
        for text, starts in starts_ms.items():
            expected = sorted(one.start_ms for one in said if one.text == text)
            assert all(0 <= start - own <= 1 for start, own in zip(starts, expected, strict=True))
        for _, tier in grid["tiers"]:
            assert [start for start, _, _ in tier] == [0.0, *(end for _, end, _ in tier[:-1])]
            assert tier[-1][1] == grid["end"]
