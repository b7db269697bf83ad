"""Tests that rows give back the results that they were made of."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.types import Annotation, AttributeValue, Box, Item, Mask, Polygon, TextSpan, TimeSpan, WholeItem
from pipelines.formats.exported import Exported
from pipelines.formats.results import Result
from pipelines.formats.table.columns import batch
from pipelines.formats.table.rows import results
from pipelines.formats.table.schema import SCHEMA
from pipelines.sanity import Finding, MoreFindings
from tests.pipelines.formats.builders import a_failure, a_result, an_annotation
from tests.pipelines.formats.table.entries import entries


def row_of(result: Result, **item: Any) -> dict[str, Any]:
    """The only row that a result makes."""
    (row,) = batch([Exported(result=result, item=Item(id=result.id, media="image", **item))]).to_pylist()
    return row


def back(result: Result) -> Result:
    (found,) = results(batch([Exported(result=result, item=Item(id=result.id, media="image"))]))
    return found


@given(st.lists(entries(), max_size=5))
def test_any_results_come_back(given: list[Exported]) -> None:
    assert list(results(batch(given))) == [entry.result for entry in given]


def test_a_result_is_a_row_that_can_be_read_without_us() -> None:
    result = replace(
        a_result("a.png", confidence=0.5),
        signals={"entropy": 0.25},
        size_hw=(48, 64),
        annotations=(an_annotation(),),
        findings=(Finding(rule="sliver", annotation_id="0", action="flagged", message="it is thin"),),
        more_findings=(MoreFindings(rule="sliver", action="flagged", count=41),),
        unmapped={"tram": 2},
    )

    row = row_of(result, uri="/drop/a.png", meta={"camera": "left"})

    assert list(row) == SCHEMA.names
    del row["annotations"]
    assert row == {
        "item_id": "a.png",
        "task": "detection",
        "status": "nothing_found",
        "media": "image",
        "uri": "/drop/a.png",
        "text": None,
        "meta": [{"key": "camera", "value": "left"}],
        "height": 48,
        "width": 64,
        "duration_s": None,
        "confidence": 0.5,
        "calibrated": True,
        "uncertainty": [{"key": "miss_risk", "value": 0.2}],
        "signals": [{"key": "entropy", "value": 0.25}],
        "findings": [{"rule": "sliver", "annotation_id": "0", "action": "flagged", "message": "it is thin"}],
        "more_findings": [{"rule": "sliver", "action": "flagged", "count": 41}],
        "unmapped": [{"key": "tram", "value": 2}],
        "route": "review",
        "queue": "images",
        "reason": "circle #0 scored 0.50, below 0.60",
        "threshold": 0.6,
        "propensity": 1.0,
        "draw": None,
        "is_blind": False,
        "uniform_rate": None,
        "decision_policy_id": "thresholds-1",
        "error_code": None,
        "error_message": None,
        "model": "detector",
        "model_version": "2",
        "weights_digest": "0123456789abcdef",
        "config_digest": "fedcba",
        "chain": ["detector@2:0123456789ab"],
        "policy_id": "thresholds-1",
        "calibration_id": None,
        "item_digest": "aa",
        "created_at": datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        "rules_digest": None,
        "ontology_digest": None,
    }


def test_rows_of_before_the_rules_can_be_read() -> None:
    new = ("findings", "more_findings", "unmapped", "rules_digest", "ontology_digest", "is_blind", "uniform_rate")
    entry = Exported(result=a_result("a", an_annotation()), item=Item(id="a", media="image"))
    rows = batch([entry, entry]).drop_columns([*new])

    assert list(results(rows)) == [entry.result, entry.result]


@pytest.mark.parametrize(
    ("geometry", "filled"),
    [
        (Box(xyxy=(1.0, 2.0, 3.5, 4.0)), {"kind": "box", "box": [1.0, 2.0, 3.5, 4.0]}),
        (Polygon(points_xy=((0.0, 1.0), (2.0, 3.0))), {"kind": "polygon", "polygon": [[0.0, 1.0], [2.0, 3.0]]}),
        (Mask(size_hw=(2, 3), counts="06"), {"kind": "mask", "mask": {"height": 2, "width": 3, "counts": "06"}}),
        (TextSpan(start=0, end=5), {"kind": "text_span", "start": 0, "end": 5}),
        (TimeSpan(start_s=0.0, end_s=1.5), {"kind": "time_span", "start_s": 0.0, "end_s": 1.5}),
        (WholeItem(), {"kind": "whole_item"}),
    ],
)
def test_a_geometry_fills_the_fields_of_its_kind(geometry: Any, filled: dict[str, Any]) -> None:
    annotation = an_annotation("7", label="x", geometry=geometry, score=0.5, confidence=0.25, text="t", parent_id="0")

    (found,) = row_of(a_result("a", annotation))["annotations"]

    assert {name: value for name, value in found.items() if value is not None} == {
        "id": "7",
        "label": "x",
        "score": 0.5,
        "confidence": 0.25,
        "text": "t",
        "parent_id": "0",
        "attributes": "{}",
    } | filled


def test_a_mask_and_a_box_lie_in_one_row() -> None:
    result = a_result("a", an_annotation("0"), an_annotation("m0", geometry=Mask(size_hw=(1, 1), counts="01")))

    assert back(result) == result


def test_an_item_that_failed_has_its_error_and_no_decision() -> None:
    row = row_of(a_failure("bad.png", code="too_large", message="11 MB"))

    assert (row["status"], row["error_code"], row["error_message"]) == ("failed", "too_large", "11 MB")
    assert (row["route"], row["model"], row["chain"], row["created_at"], row["annotations"]) == (*[None] * 4, [])


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ({"stability": 0.9, "n": 3, "is_crowd": True, "by": "né"}, '{"stability":0.9,"n":3,"is_crowd":true,"by":"né"}'),
        ({"a": math.inf, "b": -math.inf, "c": 1.0}, '{"a":1e999,"b":-1e999,"c":1.0}'),
        ({"huge": 10**30}, '{"huge":1000000000000000000000000000000}'),
        ({}, "{}"),
    ],
)
def test_attributes_are_a_json_object(attributes: dict[str, AttributeValue], text: str) -> None:
    result = a_result("a", Annotation(id="0", label="x", geometry=WholeItem(), score=1.0, attributes=attributes))

    assert row_of(result)["annotations"][0]["attributes"] == text
    assert back(result) == result


def test_an_attribute_that_is_no_number_becomes_null() -> None:
    nan = Annotation(id="0", label="x", geometry=WholeItem(), score=1.0, attributes={"a": math.nan, "b": 1})

    assert row_of(a_result("a", nan))["annotations"][0]["attributes"] == '{"a":null,"b":1}'


def test_a_threshold_may_be_infinite() -> None:
    assert row_of(a_result("a", threshold=math.inf))["threshold"] == math.inf


def test_ten_thousand_annotations_come_back() -> None:
    result = a_result("a", *(an_annotation(str(number), score=number / 10_000) for number in range(10_000)))

    assert back(result) == result


def test_microseconds_and_other_time_zones_come_back_as_the_same_instant() -> None:
    result = a_result("a")
    assert result.provenance
    at = datetime.fromisoformat("2026-01-02T03:04:05.678901+05:30")

    found = back(replace(result, provenance=replace(result.provenance, created_at=at)))

    assert found.provenance
    assert found.provenance.created_at == at
