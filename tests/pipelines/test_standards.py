"""Tests that a prediction is put into the project's words, narrowed to what is wanted, and then checked."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.geometry import encode_mask
from models.types import Annotation, Box, Prediction, Task, TextSpan
from pipelines.ontology import Alias, Class, Ontology
from pipelines.sanity import RULES, SanityRules, check
from pipelines.standards import MOST_FINDINGS, Standards, is_large

SIZE_HW = (100, 200)
ALL_OFF: dict[str, Any] = dict.fromkeys(RULES, "off")


def a_box(annotation_id: str, label: str = "car", *, xyxy: tuple[float, ...] = (10, 10, 50, 50)) -> Annotation:
    x1, y1, x2, y2 = xyxy
    return Annotation(id=annotation_id, label=label, geometry=Box(xyxy=(x1, y1, x2, y2)), score=0.9)


def a_prediction(*annotations: Annotation) -> Prediction:
    return Prediction(annotations=annotations, signals={"min_score": 0.9}, size_hw=SIZE_HW)


def street(*, unmapped: Literal["keep", "abstain", "drop"] = "keep") -> Ontology:
    return Ontology(
        classes=(Class(name="car"), Class(name="person"), Class(name="other")),
        aliases=(Alias(labels=("auto", "automobile"), to="car"), Alias(labels=("3",), to="person", model="finder")),
        exclusive=(("car", "person"),),
        abstain="other",
        unmapped=unmapped,
    )


def labels(prediction: Prediction) -> list[str]:
    return [annotation.label for annotation in prediction.annotations]


def test_labels_that_become_one_class_are_checked_as_one() -> None:
    prediction = a_prediction(a_box("0", "auto"), a_box("1", "automobile"))

    apart = Standards().publish(prediction, task="detection")
    as_one = Standards(ontology=street()).publish(prediction, task="detection")

    assert (apart.prediction, apart.findings) == (prediction, ())
    assert labels(as_one.prediction) == ["car"]
    assert [(found.rule, found.annotation_id, found.action) for found in as_one.findings] == [
        ("duplicate", "1", "removed")
    ]


def test_the_caller_asks_in_the_projects_words() -> None:
    prediction = a_prediction(a_box("0", "auto"), a_box("1", "3", xyxy=(60, 60, 90, 90)))

    found = Standards(ontology=street()).publish(prediction, task="detection", models=["finder"], wanted=("person",))

    assert labels(found.prediction) == ["person"]


def test_what_nobody_wants_is_not_checked() -> None:
    prediction = a_prediction(a_box("0", "cat", xyxy=(10, 10, 10, 50)), a_box("1", "dog"))

    found = Standards().publish(prediction, task="detection", wanted=("dog",))

    assert (labels(found.prediction), found.findings) == (["dog"], ())


@pytest.mark.parametrize(
    ("unmapped", "published"), [("keep", ["tram", "car"]), ("abstain", ["other", "car"]), ("drop", ["car"])]
)
def test_a_label_without_a_class_is_counted_whatever_becomes_of_it(
    unmapped: Literal["keep", "abstain", "drop"], published: list[str]
) -> None:
    prediction = a_prediction(a_box("0", "tram", xyxy=(60, 60, 90, 90)), a_box("1"))
    standards = Standards(ontology=street(unmapped=unmapped))

    found = standards.publish(prediction, task="detection")
    unwanted = standards.publish(prediction, task="detection", wanted=("car",))

    assert labels(found.prediction) == published
    assert found.unmapped == unwanted.unmapped == {"tram": 1}


def test_classes_that_exclude_each_other_are_found_on_one_object() -> None:
    prediction = a_prediction(a_box("0", "auto"), a_box("1", "person"))

    found = Standards(ontology=street()).publish(prediction, task="detection")

    assert [(one.rule, one.action) for one in found.findings] == [("exclusive_labels", "flagged")]


def test_spans_are_held_against_their_text() -> None:
    span = Annotation(id="0", label="person", geometry=TextSpan(start=0, end=4), score=0.9, text="Ada ")

    found = Standards().publish(Prediction(annotations=(span,)), task="ner", text="Ada wrote.")

    assert found.prediction.annotations[0].geometry == TextSpan(start=0, end=3)
    assert [one.rule for one in found.findings] == ["untrimmed_span"]


def test_rules_that_are_off_find_and_change_nothing() -> None:
    broken = a_prediction(a_box("0", xyxy=(-5, 0, 300, 90)), a_box("1", xyxy=(5, 5, 5, 9)), a_box("2"), a_box("3"))

    found = Standards(rules=SanityRules(**ALL_OFF)).publish(broken, task="detection")

    assert (found.prediction, found.findings, found.more_findings) == (broken, (), ())
    assert {one.rule for one in Standards().publish(broken, task="detection").findings} == {
        *("zero_area", "outside_image", "duplicate", "nested_box")
    }


@given(st.integers(0, 3 * MOST_FINDINGS), st.integers(0, 3 * MOST_FINDINGS))
def test_however_many_findings_there_are_a_hundred_are_kept_and_all_are_counted(thin: int, flat: int) -> None:
    boxes = [a_box(f"thin {n}", f"c{n}", xyxy=(10, 10, 11, 50)) for n in range(thin)]
    boxes += [a_box(f"flat {n}", f"c{n}", xyxy=(10, 10, 10, 50)) for n in range(flat)]

    found = Standards().publish(a_prediction(*boxes), task="detection")

    assert len(found.findings) == min(thin + flat, MOST_FINDINGS)
    counts = Counter((one.rule, one.action) for one in found.findings)
    for more in found.more_findings:
        counts[more.rule, more.action] += more.count
    assert +counts == +Counter({("sliver", "flagged"): thin, ("zero_area", "removed"): flat})


def test_a_prediction_that_meets_the_standards_stays_as_it_is() -> None:
    prediction = a_prediction(a_box("0"), a_box("1", "person", xyxy=(60, 60, 90, 90)))

    found = Standards(ontology=street()).publish(prediction, task="detection")

    assert (found.prediction, found.findings, found.more_findings, found.unmapped) == (prediction, (), (), {})


def test_the_digests_tell_rules_and_ontologies_apart() -> None:
    strict, plain = Standards(rules=SanityRules(sliver="fix"), ontology=street()), Standards()

    assert strict.rules_digest != plain.rules_digest == Standards().rules_digest
    assert plain.ontology_digest is None
    assert strict.ontology_digest == street().digest() != street(unmapped="drop").digest()


def test_a_task_is_held_against_the_rules_that_concern_it() -> None:
    standards = Standards(rules=SanityRules(sliver="off"))

    assert standards.rules_off("detection") == ["sliver", "tiny_box"]
    assert standards.rules_off("ner") == []
    assert standards.checked_rules("speech") == ["outside_recording", "empty_speech", "repetition"]
    assert "exclusive_labels" not in standards.checked_rules("detection")
    assert "exclusive_labels" in Standards(ontology=street()).checked_rules("detection")
    everything = standards.checked_rules(*get_args(Task)) + standards.rules_off(*get_args(Task))
    assert sorted([*everything, "exclusive_labels"]) == sorted(RULES)


def test_a_prediction_is_large_by_its_labels_or_its_masks() -> None:
    mask = Annotation(id="0", label="car", geometry=encode_mask(np.indices((120, 120)).sum(axis=0) % 2 == 0), score=0.9)

    assert is_large(a_prediction(mask))
    assert is_large(a_prediction(*(a_box(str(n)) for n in range(101))))
    assert not is_large(a_prediction(*(a_box(str(n)) for n in range(100))))


def test_what_is_published_is_what_the_rules_alone_would_leave() -> None:
    prediction = a_prediction(a_box("0", xyxy=(-5, 0, 50, 50)), a_box("1"), a_box("2"))

    found = Standards().publish(prediction, task="detection")

    assert found.prediction == check(prediction, task="detection", rules=SanityRules()).prediction != prediction
