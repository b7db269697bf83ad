"""Tests that the words in a CTM file are those that went into it.

They are parsed by NIST's grammar, ``CTM :== <F> <C> <BT> <DUR> word [ <CONF> ]``.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings

from pipelines.formats import ctm
from pipelines.formats.exported import Exported, certainty
from pipelines.formats.transcript import utterances
from tests.pipelines.formats.recordings import (
    a_broken_recording,
    a_label,
    a_recording,
    a_segment,
    hostile_recordings,
    write,
    written,
)


class Word(NamedTuple):
    recording: str
    channel: str
    start_s: float
    duration_s: float
    word: str
    score: float


def read(*entries: Exported) -> list[Word]:
    return [_word(*line.split()) for line in written(ctm, *entries)["words.ctm"].split("\n")[:-1]]


def _word(recording: str, channel: str, start_s: str, duration_s: str, word: str, score: str) -> Word:
    return Word(recording, channel, float(start_s), float(duration_s), word, float(score))


def test_a_word_is_a_line() -> None:
    files = written(ctm, a_recording("call.wav", *a_segment("hello there", 1.0, 2.5)))

    assert files == {"words.ctm": "call.wav 1 1.000 0.750 hello 0.5000\ncall.wav 1 1.750 0.750 there 0.5000\n"}


def test_a_calibrated_number_goes_before_a_score() -> None:
    (word,) = read(a_recording("a.wav", a_label("0", "so", 0.0, 1.0, score=0.9, confidence=0.25)))

    assert word.score == 0.25


def test_lines_are_sorted_by_recording_and_start() -> None:
    late, early = a_label("0", "late", 2.0, 3.0), a_label("1", "early", 1.0, 2.0)

    words = read(a_recording("b.wav", late, early), a_recording("B.wav", late), a_recording("a.wav", late, early))

    assert [(word.recording, word.word) for word in words] == [
        ("B.wav", "late"),
        ("a.wav", "early"),
        ("a.wav", "late"),
        ("b.wav", "early"),
        ("b.wav", "late"),
    ]


@pytest.mark.parametrize(
    ("item_id", "text", "line"),
    [
        ("a b.wav", "New York", "a%20b.wav 1 0.000 1.000 New_York 0.9000\n"),
        (";;", "so\u00a0what", "%3B%3B 1 0.000 1.000 so_what 0.9000\n"),
    ],
)
def test_a_space_ends_no_field(item_id: str, text: str, line: str) -> None:
    assert written(ctm, a_recording(item_id, a_label("0", text, 0.0, 1.0, parent_id="x"))) == {"words.ctm": line}


def test_what_a_list_of_words_cannot_hold_is_counted(tmp_path: Path) -> None:
    call = a_recording(
        "call.wav",
        *a_segment("hello there", 0.0, 1.0),
        a_label("8", "good bye", 1.0, 2.0),
        a_label("9", "", 3.0, 4.0, parent_id="0", x=1),
    )

    left_out = write(ctm, call, a_recording("quiet.wav"), a_broken_recording(), out=tmp_path)

    assert left_out == {
        "times and scores of segments": 1,
        "segments without words": 1,
        "words without text": 1,
        "recordings in which nothing was found": 1,
        "items that failed": 1,
    }
    assert [path.name for path in tmp_path.iterdir()] == ["words.ctm"]


def test_ten_thousand_words_are_written() -> None:
    words = read(a_recording("a.wav", *(a_label(str(n), f"w{n}", n / 4, n / 4) for n in range(10_000))))

    assert [word.word for word in words] == [f"w{n}" for n in range(10_000)]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(hostile_recordings())
def test_whatever_is_said_comes_back(entries: list[Exported]) -> None:
    found = read(*entries)

    assert all(one[:3] <= other[:3] for one, other in pairwise(found))
    for entry in entries:
        own = [word for word in found if unquote(word.recording, errors="surrogatepass") == entry.item.id]
        said = [word for one in utterances(entry.result, Counter()) for word in one.words if word.text]
        assert sorted(own) == sorted(
            Word(
                own[0].recording,
                "1",
                word.start_ms / 1000,
                (word.end_ms - word.start_ms) / 1000,
                "_".join(word.text.split()),
                float(f"{certainty(word.annotation)[0]:.4f}"),
            )
            for word in said
        )
