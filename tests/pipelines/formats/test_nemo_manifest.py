"""Tests that a NeMo manifest reads as NeMo (json) and Hugging Face's datasets (pyarrow) read it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from pyarrow.json import read_json

from models.types import Item
from pipelines.formats import nemo_manifest
from pipelines.formats.exported import Exported
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


def read(*entries: Exported) -> list[Any]:
    return [json.loads(line) for line in written(nemo_manifest, *entries)["manifest.json"].splitlines()]


def test_a_segment_is_a_line() -> None:
    call = a_recording("call.wav", *a_segment("hello there", 1.5, 2.25, speaker="ada"), uri="/data/call.wav")

    assert read(call) == [
        {
            "audio_filepath": "/data/call.wav",
            "offset": 1.5,
            "duration": 0.75,
            "text": "hello there",
            "lang": "en",
            "speaker": "ada",
            "score": 0.9,
            "score_kind": "score",
            "item_id": "call.wav",
            "route": "review",
        }
    ]


def test_a_calibrated_number_is_called_a_confidence() -> None:
    (line,) = read(a_recording("a.wav", a_label("0", "a b", 0.0, 1.0, confidence=0.25)))

    assert (line["score"], line["score_kind"]) == (0.25, "confidence")


def test_a_recording_without_speech_is_a_line_without_text() -> None:
    (line,) = read(a_recording("quiet.wav", duration_s=12.345))

    assert (line["offset"], line["duration"], line["text"], line["score"]) == (0.0, 12.345, "", None)


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("/data/a b.wav", "/data/a b.wav"),
        ("file:///data/a%20b.wav", "/data/a b.wav"),
        ("FILE://localhost/data/a.wav", "/data/a.wav"),
        ("file:/data/a.wav", "/data/a.wav"),
        ("file:///caf%E9.wav", "/caf\udce9.wav"),
        ("s3://bucket/a%20b.wav", "s3://bucket/a%20b.wav"),
    ],
)
def test_a_local_file_is_named_by_its_path(uri: str, path: str) -> None:
    (line,) = read(a_recording("a.wav", uri=uri))

    assert line["audio_filepath"] == path


def test_a_recording_without_a_path_is_named_by_its_id() -> None:
    uploaded = Exported(result=a_recording("a").result, item=Item(id="a", media="audio", data=b""))

    assert read(uploaded)[0]["audio_filepath"] == "a"


def test_what_a_manifest_cannot_hold_is_counted(tmp_path: Path) -> None:
    call = a_recording(
        "call.wav",
        *a_segment("hello there", 0.0, 1.0),
        a_label("8", "a b", 0.0, 1.0, x=1, language="en", speaker="ada"),
        a_label("9", None, 3.0, 4.0),
    )

    left_out = write(nemo_manifest, call, a_recording("b", duration_s=None), a_broken_recording(), out=tmp_path)

    assert left_out == {
        "times and scores of words": 2,
        "attributes": 1,
        "segments without text": 1,
        "recordings without speech whose length is not known": 1,
        "items that failed": 1,
    }


def test_datasets_find_one_type_for_each_field(tmp_path: Path) -> None:
    call = a_recording("call.wav", *a_segment("hello 你好", 1.0, 2.0), a_label("7", "so", 3.0, 4.0, speaker=7))
    write(nemo_manifest, call, a_recording("quiet.wav"), out=tmp_path)

    table = read_json(tmp_path / "manifest.json")

    assert table["text"].to_pylist() == ["hello 你好", "so", ""]
    assert table["speaker"].to_pylist() == [None, "7", None]
    assert {str(field.type) for field in table.schema} == {"string", "double"}


def test_ten_thousand_segments_are_written() -> None:
    lines = read(a_recording("a.wav", *(a_label(str(n), f"said {n}", n, n + 0.5) for n in range(10_000))))

    assert [line["text"] for line in lines] == [f"said {n}" for n in range(10_000)]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(hostile_recordings())
def test_whatever_is_said_comes_back(entries: list[Exported]) -> None:
    lines = read(*entries)

    for entry in entries:
        said = [one for one in utterances(entry.result, Counter()) if one.text]
        own = [line for line in lines if line["item_id"] == entry.item.id and line["text"]]
        assert [(line["text"], line["speaker"], line["score"]) for line in own] == [
            (one.text, one.speaker, one.certainty[0]) for one in said
        ]
        for line, one in zip(own, said, strict=True):
            assert line["offset"] * 1000 == pytest.approx(one.start_ms)
            assert line["duration"] * 1000 == pytest.approx(one.end_ms - one.start_ms)
