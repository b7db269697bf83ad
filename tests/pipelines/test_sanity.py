"""Checks that predictions keep the rules of sanity: what is found, what is repaired, and what is left alone."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import TypeAdapter, ValidationError

from models import geometry
from models.geometry import decode_mask, encode_mask
from models.types import Annotation, Box, Geometry, Mask, Polygon, Prediction, Task, TextSpan, TimeSpan, WholeItem
from pipelines.sanity import RULES, Checked, Rule, SanityRules, check
from pipelines.sanity.overlaps import alike, inside
from pipelines.sanity.pieces import pieces

SETTINGS = TypeAdapter(SanityRules)
ALL_OFF: dict[str, Any] = dict.fromkeys(RULES, "off")
TEXT = "Ada  met Grace in Paris."


def an(
    annotation_id: str,
    geometry: Geometry,
    *,
    label: str = "cat",
    score: float = 0.9,
    text: str | None = None,
    of: str | None = None,
) -> Annotation:
    return Annotation(id=annotation_id, label=label, geometry=geometry, score=score, text=text, parent_id=of)


def a_box(
    annotation_id: str, *xyxy: float, label: str = "cat", score: float = 0.9, of: str | None = None
) -> Annotation:
    x1, y1, x2, y2 = xyxy
    return an(annotation_id, Box(xyxy=(x1, y1, x2, y2)), label=label, score=score, of=of)


def a_span(annotation_id: str, start: int, end: int, *, label: str = "person", score: float = 0.9) -> Annotation:
    return an(annotation_id, TextSpan(start=start, end=end), label=label, score=score, text=TEXT[start:end])


def a_segment(
    annotation_id: str, start_s: float, end_s: float, text: str | None, *, label: str = "speech", of: str | None = None
) -> Annotation:
    return an(annotation_id, TimeSpan(start_s=start_s, end_s=end_s), label=label, text=text, of=of)


def a_polygon(annotation_id: str, *points_xy: tuple[float, float]) -> Annotation:
    return an(annotation_id, Polygon(points_xy=points_xy))


def a_mask(annotation_id: str, *filled_xyxy: tuple[int, int, int, int], of: str | None = None) -> Annotation:
    bitmap = np.zeros((100, 200), dtype=bool)
    for x1, y1, x2, y2 in filled_xyxy:
        bitmap[y1:y2, x1:x2] = True
    return an(annotation_id, encode_mask(bitmap), of=of)


def a_prediction(*annotations: Annotation, signals: dict[str, float] | None = None) -> Prediction:
    return Prediction(annotations=annotations, signals=signals or {}, size_hw=(100, 200), duration_s=60.0)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A prediction that breaks one rule in its last annotation, one that just keeps it, and what a repair does."""

    rule: Rule
    broken: Prediction
    sound: Prediction
    repair: Literal["changed", "removed"]
    task: Task = "detection"
    exclusive: Sequence[Mapping[str, str]] = ()

    def check(self, prediction: Prediction, rules: SanityRules) -> Checked:
        text = TEXT if self.task == "ner" else None
        return check(prediction, task=self.task, rules=rules, text=text, exclusive=self.exclusive)


def images(
    rule: Rule, broken: Sequence[Annotation], sound: Sequence[Annotation], repair: Literal["changed", "removed"]
) -> Case:
    sides = ({"open": "open", "closed": "closed", "ajar": "open"},)
    return Case(rule=rule, broken=a_prediction(*broken), sound=a_prediction(*sound), repair=repair, exclusive=sides)


def texts(
    rule: Rule, broken: Sequence[Annotation], sound: Sequence[Annotation], repair: Literal["changed", "removed"]
) -> Case:
    return Case(rule=rule, broken=a_prediction(*broken), sound=a_prediction(*sound), repair=repair, task="ner")


def speech(
    rule: Rule, broken: Sequence[Annotation], sound: Sequence[Annotation], repair: Literal["changed", "removed"]
) -> Case:
    return Case(rule=rule, broken=a_prediction(*broken), sound=a_prediction(*sound), repair=repair, task="speech")


CASES = (
    images("zero_area", [a_box("0", 5, 5, 5, 40)], [a_box("0", 5, 5, 7, 40)], "removed"),
    images("zero_area", [a_mask("0")], [a_mask("0", (0, 0, 1, 1))], "removed"),
    images("outside_image", [a_box("0", 150, 50, 201, 90)], [a_box("0", 150, 50, 200, 100)], "changed"),
    images("outside_image", [a_box("0", 200, 50, 240, 90)], [a_box("0", 0, 0, 200, 100)], "removed"),
    images(
        "degenerate_polygon",
        [a_polygon("0", (0, 0), (50, 50), (20, 20))],
        [a_polygon("0", (0, 0), (50, 50), (20, 21))],
        "removed",
    ),
    images(
        "mask_crumbs",
        [a_mask("0", (0, 0, 50, 50), (100, 50, 103, 53))],
        [a_mask("0", (0, 0, 50, 50), (100, 50, 110, 60))],
        "changed",
    ),
    images("sliver", [a_box("0", 0, 0, 1.9, 30)], [a_box("0", 0, 0, 2, 30)], "removed"),
    images("sliver", [a_box("0", 0, 0, 101, 5)], [a_box("0", 0, 0, 100, 5)], "removed"),
    images("tiny_box", [a_box("0", 0, 0, 5, 5)], [a_box("0", 0, 0, 10, 6)], "removed"),
    images(
        "duplicate",
        [a_box("0", 10, 10, 60, 60), a_box("1", 10, 10, 60, 59, score=0.8)],
        [a_box("0", 10, 10, 60, 60), a_box("1", 10, 10, 60, 59, score=0.8, label="dog")],
        "removed",
    ),
    images(
        "exclusive_labels",
        [a_box("0", 10, 10, 60, 60, label="open"), a_box("1", 10, 10, 60, 59, label="closed", score=0.8)],
        [a_box("0", 10, 10, 60, 60, label="open"), a_box("1", 10, 10, 60, 59, label="ajar", score=0.8)],
        "removed",
    ),
    images(
        "exclusive_labels",
        [an("0", WholeItem(), label="open"), an("1", WholeItem(), label="closed", score=0.8)],
        [an("0", WholeItem(), label="open"), an("1", WholeItem(), label="dark", score=0.8)],
        "removed",
    ),
    images(
        "nested_box",
        [a_box("0", 0, 0, 90, 90), a_box("1", 80, 10, 91, 40)],
        [a_box("0", 0, 0, 90, 90), a_box("1", 80, 10, 92, 40)],
        "removed",
    ),
    texts("outside_text", [a_span("0", 18, 25)], [a_span("0", 18, 24)], "changed"),
    texts("outside_text", [a_span("0", 24, 30)], [a_span("0", 18, 24)], "removed"),
    texts("empty_span", [a_span("0", 3, 5)], [a_span("0", 0, 1)], "removed"),
    texts("empty_span", [a_span("0", 7, 7)], [a_span("0", 7, 8)], "removed"),
    texts("untrimmed_span", [a_span("0", 0, 4)], [a_span("0", 0, 14)], "changed"),
    texts(
        "duplicate",
        [a_span("0", 0, 3), a_span("1", 0, 3, score=0.8)],
        [a_span("0", 0, 3), a_span("1", 0, 3, score=0.8, label="place")],
        "removed",
    ),
    texts(
        "overlap_same_label",
        [a_span("0", 0, 8), a_span("1", 5, 14, score=0.8)],
        [a_span("0", 0, 3), a_span("1", 5, 14)],
        "removed",
    ),
    texts(
        "overlap_other_label",
        [a_span("0", 0, 8), a_span("1", 5, 14, score=0.8, label="place")],
        [a_span("0", 0, 5), a_span("1", 5, 14, label="place")],
        "removed",
    ),
    speech("outside_recording", [a_segment("0", 58, 61, "bye")], [a_segment("0", 58, 60.0005, "bye")], "changed"),
    speech("outside_recording", [a_segment("0", 60, 61, "bye")], [a_segment("0", 60, 60, "bye")], "removed"),
    speech("outside_recording", [a_segment("0", 5, 4, "bye")], [a_segment("0", 4, 4, "bye")], "removed"),
    speech("empty_speech", [a_segment("0", 0, 1, " ")], [a_segment("0", 0, 1, "-")], "removed"),
    speech(
        "repetition",
        [a_segment("0", 0, 9, "well thank you. Thank you, thank you! Thank you")],
        [a_segment("0", 0, 9, "well thank you. Thank you, thank you!")],
        "changed",
    ),
    speech(
        "repetition",
        [a_segment(str(second), second, second + 1, "Thanks a lot.") for second in range(4)][:4],
        [a_segment(str(second), second, second + 1, "Thanks a lot.") for second in range(3)],
        "removed",
    ),
)


def only(rule: Rule, action: Literal["off", "flag", "fix"]) -> SanityRules:
    return SETTINGS.validate_python(ALL_OFF | {rule: action})


def said(checked: Checked) -> list[tuple[Rule, str, str]]:
    return [(finding.rule, finding.annotation_id, finding.action) for finding in checked.findings]


def ids(checked: Checked) -> list[str]:
    return [annotation.id for annotation in checked.prediction.annotations]


def test_every_rule_has_a_case() -> None:
    assert {case.rule for case in CASES} == set(RULES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_what_breaks_a_rule_is_flagged_and_left_as_it_is(case: Case) -> None:
    checked = case.check(case.broken, only(case.rule, "flag"))

    culprit = case.broken.annotations[-1].id
    assert (case.rule, culprit, "flagged") in said(checked)
    assert {finding.action for finding in checked.findings} == {"flagged"}
    assert checked.prediction is case.broken


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_what_breaks_a_rule_is_repaired_where_the_rule_says_so(case: Case) -> None:
    checked = case.check(case.broken, only(case.rule, "fix"))

    culprit = case.broken.annotations[-1].id
    assert (case.rule, culprit, case.repair) in said(checked)
    assert (culprit in ids(checked)) == (case.repair == "changed")
    assert said(case.check(checked.prediction, only(case.rule, "fix"))) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_what_just_keeps_a_rule_is_not_found(case: Case) -> None:
    checked = case.check(case.sound, only(case.rule, "fix"))

    assert said(checked) == []
    assert checked.prediction is case.sound


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_a_rule_that_is_off_finds_nothing(case: Case) -> None:
    checked = case.check(case.broken, only(case.rule, "off"))

    assert said(checked) == []
    assert checked.prediction is case.broken


def test_by_default_labels_that_may_be_right_are_not_removed() -> None:
    rules = SanityRules()

    assert {rule for rule in RULES if rules.action(rule) == "flag"} == {
        "sliver", "repetition", "exclusive_labels", "nested_box", "overlap_same_label", "overlap_other_label",
    }  # fmt: skip
    assert rules.action("tiny_box") == "off"


def test_a_bare_off_in_yaml_switches_a_rule_off() -> None:
    settings = yaml.safe_load("{sliver: off, nested_box: fix, sliver_px: 4}")

    rules = SETTINGS.validate_python(settings)

    assert (rules.sliver, rules.nested_box, rules.sliver_px) == ("off", "fix", 4.0)


@pytest.mark.parametrize(
    "settings", [{"slivers": "fix"}, {"sliver": "drop"}, {"nested_share": 0.4}, {"sliver_px": float("nan")}]
)
def test_unknown_rules_actions_and_impossible_thresholds_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SETTINGS.validate_python(settings)


def test_other_rules_have_another_digest() -> None:
    assert SanityRules().digest() == SanityRules().digest()
    assert SanityRules(sliver="off").digest() != SanityRules().digest() != SanityRules(sliver_px=3.0).digest()


# ---- boxes, polygons, masks


def test_a_box_is_clipped_to_the_image() -> None:
    checked = check(a_prediction(a_box("0", -5, 20, 60, 120)), task="detection", rules=SanityRules())

    assert checked.prediction.annotations[0].geometry == Box(xyxy=(0.0, 20.0, 60.0, 100.0))
    assert checked.findings[0].message == "the box (-5, 20, 60, 120) reaches beyond the image of 200 × 100 px"


def test_without_the_image_s_size_no_box_is_outside_of_it() -> None:
    prediction = replace(a_prediction(a_box("0", -5, 20, 60, 120)), size_hw=None)

    assert check(prediction, task="detection", rules=SanityRules(tiny_box="fix")) == Checked(prediction=prediction)


@pytest.mark.parametrize("xyxy", [(9, 9, 4, 20), (0, 0, float("nan"), 9), (0, 0, 9, float("inf")), (1, 1, 1, 1)])
def test_a_box_that_no_one_can_draw_is_removed(xyxy: tuple[float, float, float, float]) -> None:
    checked = check(a_prediction(a_box("0", *xyxy)), task="detection", rules=SanityRules())

    assert said(checked) == [("zero_area", "0", "removed")]
    assert checked.prediction.status == "nothing_found"


@pytest.mark.parametrize("counts", ["not runs \u00e9", "0:", ""])
def test_a_mask_that_no_one_can_decode_is_removed(counts: str) -> None:
    broken = an("0", Mask(size_hw=(100, 200), counts=counts))

    assert said(check(a_prediction(broken), task="segmentation", rules=SanityRules())) == [
        ("zero_area", "0", "removed")
    ]


def test_a_removed_box_takes_its_mask_along_and_says_so() -> None:
    boxes = a_box("0", 10, 10, 60, 60), a_box("1", 10, 10, 60, 59, score=0.8)
    masks = a_mask("m0", (10, 10, 60, 60), of="0"), a_mask("m1", (10, 10, 60, 59), of="1")

    checked = check(a_prediction(*boxes, *masks), task="segmentation", rules=SanityRules())

    assert ids(checked) == ["0", "m0"]
    assert said(checked) == [("duplicate", "1", "removed"), ("duplicate", "m1", "removed")]
    assert checked.findings[1].message == "it is part of #1, which was removed"


def test_a_removed_mask_leaves_its_box() -> None:
    checked = check(
        a_prediction(a_box("0", 10, 10, 60, 60), a_mask("m0", of="0")), task="segmentation", rules=SanityRules()
    )

    assert ids(checked) == ["0"]


def test_of_duplicates_the_best_score_stays_wherever_it_stands() -> None:
    boxes = [a_box(str(n), 10, 10, 60, 60 - n / 4, score=score) for n, score in enumerate((0.7, 0.9, 0.8))]

    checked = check(a_prediction(*boxes), task="detection", rules=SanityRules())

    assert ids(checked) == ["1"]
    assert said(checked) == [("duplicate", "0", "removed"), ("duplicate", "2", "removed")]


def test_a_box_is_not_the_duplicate_of_one_that_was_removed() -> None:
    steps = [a_box(str(n), 10 + 2.5 * n, 10, 60 + 2.5 * n, 60, score=0.9 - n / 10) for n in range(3)]

    checked = check(a_prediction(*steps), task="detection", rules=only("duplicate", "fix"))

    assert ids(checked) == ["0", "2"]


def test_a_part_is_not_compared_with_what_it_is_part_of() -> None:
    team = a_box("0", 10, 10, 90, 90, label="person"), a_box("1", 20, 20, 40, 40, label="person", of="0")

    assert said(check(a_prediction(*team), task="detection", rules=SanityRules())) == []


def test_like_boxes_are_duplicates_and_not_nested() -> None:
    boxes = a_box("0", 10, 10, 60, 60), a_box("1", 11, 11, 59, 59)

    checked = check(a_prediction(*boxes), task="detection", rules=SanityRules(duplicate="flag"))

    assert said(checked) == [("duplicate", "1", "flagged")]


def test_a_label_and_what_is_more_general_do_not_exclude_each_other() -> None:
    sides = ({"vehicle": "vehicle", "car": "vehicle", "dog": "animal"},)
    boxes = a_box("0", 10, 10, 60, 60, label="vehicle"), a_box("1", 10, 10, 60, 60, label="car")

    checked = check(a_prediction(*boxes), task="detection", rules=SanityRules(), exclusive=sides)

    assert said(checked) == []


def test_what_excludes_each_other_may_stand_in_two_places() -> None:
    sides = ({"open": "open", "closed": "closed"},)
    doors = a_box("0", 10, 10, 60, 60, label="open"), a_box("1", 80, 10, 120, 60, label="closed")

    assert said(check(a_prediction(*doors), task="detection", rules=SanityRules(), exclusive=sides)) == []


def test_crumbs_are_swept_off_a_mask_and_the_rest_stays_as_it_is() -> None:
    mask = a_mask("0", (0, 0, 50, 50), (100, 50, 103, 53), (60, 20, 72, 40))

    checked = check(a_prediction(mask), task="segmentation", rules=SanityRules())

    assert checked.prediction.annotations[0].geometry == a_mask("0", (0, 0, 50, 50), (60, 20, 72, 40)).geometry
    assert checked.findings[0].message == "1 of the mask's 3 pieces are crumbs, of 9 px together"


def test_a_mask_of_nothing_but_crumbs_is_flagged_and_kept() -> None:
    mask = a_mask("0", *((x, 10, x + 4, 14) for x in range(0, 100, 10)))

    checked = check(a_prediction(mask), task="segmentation", rules=SanityRules())

    assert said(checked) == [("mask_crumbs", "0", "flagged")]
    assert checked.prediction.annotations == (mask,)


def test_a_small_mask_in_one_piece_is_no_crumb() -> None:
    assert said(check(a_prediction(a_mask("0", (5, 5, 8, 8))), task="segmentation", rules=SanityRules())) == []


def test_a_polygon_is_clipped_to_the_image() -> None:
    triangle = a_polygon("0", (150, 50), (250, 50), (150, 90))

    checked = check(a_prediction(triangle), task="segmentation", rules=SanityRules())

    assert said(checked) == [("outside_image", "0", "changed")]
    clipped = checked.prediction.annotations[0].geometry
    assert clipped == Polygon(points_xy=((150.0, 50.0), (200.0, 50.0), (200.0, 70.0), (150.0, 90.0)))


def test_a_polygon_outside_of_the_image_is_removed() -> None:
    triangle = a_polygon("0", (250, 50), (290, 50), (250, 90))

    assert said(check(a_prediction(triangle), task="segmentation", rules=SanityRules())) == [
        ("outside_image", "0", "removed")
    ]


def test_points_that_repeat_the_one_before_are_dropped_from_a_polygon() -> None:
    closed = a_polygon("0", (0, 0), (50, 0), (50, 0), (50, 50), (0, 0))

    checked = check(a_prediction(closed), task="segmentation", rules=SanityRules())

    assert said(checked) == [("degenerate_polygon", "0", "changed")]
    assert checked.prediction.annotations[0].geometry == Polygon(points_xy=((0, 0), (50, 0), (50, 50)))


@pytest.mark.parametrize(("last", "crosses"), [((0, 40), False), ((40, -40), True)])
def test_a_polygon_that_crosses_itself_is_flagged_and_kept(last: tuple[float, float], crosses: bool) -> None:
    ring = a_polygon("0", (20, 50), (60, 50), (60, 90), (20, 50 + last[1]))

    checked = check(replace(a_prediction(ring), size_hw=None), task="segmentation", rules=SanityRules())

    assert said(checked) == ([("degenerate_polygon", "0", "flagged")] if crosses else [])
    assert ids(checked) == ["0"]


def test_a_bow_tie_has_no_area_on_balance_and_is_kept_for_a_human() -> None:
    bow_tie = a_polygon("0", (0, 0), (50, 50), (50, 0), (0, 50))

    checked = check(a_prediction(bow_tie), task="segmentation", rules=SanityRules())

    assert said(checked) == [("degenerate_polygon", "0", "flagged")]


# ---- text


def test_a_trimmed_span_marks_its_trimmed_text() -> None:
    checked = check(a_prediction(a_span("0", 3, 9)), task="ner", rules=SanityRules(), text=TEXT)

    trimmed = checked.prediction.annotations[0]
    assert (trimmed.geometry, trimmed.text) == (TextSpan(start=5, end=8), "met")


def test_without_the_text_only_what_needs_none_is_found() -> None:
    spans = a_span("0", 0, 4), a_span("1", 90, 99), a_span("2", 7, 7)

    assert said(check(a_prediction(*spans), task="ner", rules=SanityRules())) == [("empty_span", "2", "removed")]


def test_spans_count_code_points() -> None:
    text = "👩‍🚀 Ada "
    end = len(text) - 1

    checked = check(
        a_prediction(an("0", TextSpan(start=4, end=end + 1), text="Ada ")), task="ner", rules=SanityRules(), text=text
    )

    assert checked.prediction.annotations[0].text == "Ada"


def test_of_overlapping_spans_the_best_score_stays() -> None:
    spans = a_span("0", 0, 8, score=0.7), a_span("1", 5, 14, score=0.8), a_span("2", 9, 17, score=0.6)

    checked = check(a_prediction(*spans), task="ner", rules=SanityRules(overlap_same_label="fix"), text=TEXT)

    assert ids(checked) == ["1"]


# ---- speech


def test_of_a_loop_one_turn_stays_in_the_text_and_in_the_words() -> None:
    said_words = ["so", "thank", "you", "thank", "you", "thank", "you", "thank", "you", "bye"]
    words = [a_segment(f"0.{n}", n, n + 1, word, label="word", of="0") for n, word in enumerate(said_words)]
    segment = a_segment("0", 0, 10, " ".join(said_words))

    checked = check(a_prediction(segment, *words), task="speech", rules=SanityRules(repetition="fix"))

    assert checked.prediction.annotations[0].text == "so thank you bye"
    assert ids(checked) == ["0", "0.0", "0.1", "0.2", "0.9"]
    assert checked.findings[0].message == "the text says 'thank you' 4 times in a row"


def test_a_loop_whose_words_are_others_is_flagged_only() -> None:
    segment = a_segment("0", 0, 10, "thank you " * 6)
    word = a_segment("0.0", 0, 1, "thanks", label="word", of="0")

    checked = check(a_prediction(segment, word), task="speech", rules=SanityRules(repetition="fix"))

    assert said(checked) == [("repetition", "0", "flagged")]
    assert ids(checked) == ["0", "0.0"]


@pytest.mark.parametrize(
    "text",
    [
        "No, no, no, no, wait.",
        "It goes on and on and on, and we wait.",
        "one two three four five six seven eight nine ten",
        "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness, "
        "it was the epoch of belief, it was the epoch of incredulity, it was the season of Light.",
        "भारत दक्षिण एशिया में स्थित भारतीय उपमहाद्वीप का सबसे बड़ा देश है। "
        "भारत भौगोलिक दृष्टि से विश्व में सातवाँ सबसे बड़ा और जनसंख्या के दृष्टिकोण से दूसरा सबसे बड़ा देश है। "
        "भारत के पश्चिम में पाकिस्तान, उत्तर-पूर्व में चीन, नेपाल और भूटान स्थित हैं।",
    ],
)
def test_what_people_say_is_no_loop(text: str) -> None:
    assert said(check(a_prediction(a_segment("0", 0, 9, text)), task="speech", rules=SanityRules())) == []


@pytest.mark.parametrize("text", ["H" + "m" * 80, "ご視聴ありがとうございました" * 8, "ha" * 40])
def test_a_loop_without_words_shows_in_the_compression(text: str) -> None:
    checked = check(a_prediction(a_segment("0", 0, 9, text)), task="speech", rules=SanityRules(repetition="fix"))

    assert said(checked) == [("repetition", "0", "flagged")]
    assert "very regular" in checked.findings[0].message


def test_segments_that_take_turns_are_a_loop() -> None:
    turns = ["Yes, of course.", "No way."] * 4

    checked = check(
        a_prediction(*(a_segment(str(n), n, n + 1, text) for n, text in enumerate(turns))),
        task="speech",
        rules=SanityRules(repetition="fix"),
    )

    assert ids(checked) == ["0", "1"]


def test_an_unknown_length_ends_nowhere() -> None:
    prediction = replace(a_prediction(a_segment("0", 58, 900, "bye")), duration_s=None)

    assert check(prediction, task="speech", rules=SanityRules()) == Checked(prediction=prediction)


def test_speakers_have_no_text_and_are_not_empty() -> None:
    turns = a_segment("0", 0, 5, None, label="speaker"), a_segment("1", 5, 9, None, label="speaker")
    speech_with_gap = a_segment("2", 0, 5, "hello", label="speech"), a_segment("3", 5, 9, None, label="speech")

    checked = check(a_prediction(*turns, *speech_with_gap), task="speech", rules=SanityRules())

    assert said(checked) == [("empty_speech", "3", "removed")]


def test_a_segment_whose_words_have_the_text_is_not_empty() -> None:
    words = a_segment("0.0", 0, 1, "hello", of="0"), a_segment("1.0", 2, 3, "", of="1")

    checked = check(
        a_prediction(a_segment("0", 0, 1, ""), a_segment("1", 2, 3, ""), *words), task="speech", rules=SanityRules()
    )

    assert ids(checked) == ["0", "0.0"]


def test_an_empty_segment_takes_no_other_task_s_time_spans_along() -> None:
    assert said(check(a_prediction(a_segment("0", 0, 1, "")), task="ner", rules=SanityRules())) == []


# ---- signals and findings


def test_the_lowest_score_is_that_of_what_is_left() -> None:
    boxes = a_box("0", 10, 10, 60, 60), a_box("1", 10, 10, 60, 59, score=0.6)
    signals = {"min_score": 0.6, "no_miss": 0.8, "entropy_max": 0.3}

    checked = check(a_prediction(*boxes, signals=signals), task="detection", rules=SanityRules())

    assert checked.prediction.signals == {"min_score": 0.9, "no_miss": 0.8, "entropy_max": 0.3}


def test_what_was_removed_and_nothing_stands_for_counts_as_a_possible_miss() -> None:
    sliver = a_prediction(a_box("0", 0, 0, 1, 50, score=0.75), signals={"min_score": 0.75, "no_miss": 0.9})

    checked = check(sliver, task="detection", rules=SanityRules(sliver="fix"))

    assert checked.prediction.signals == {"no_miss": 0.25}


def test_in_a_text_misses_multiply_as_the_tagger_s_own_do() -> None:
    blanks = a_span("0", 3, 5, score=0.5), a_span("1", 4, 5, score=0.5)

    checked = check(a_prediction(*blanks, signals={"no_miss": 0.8}), task="ner", rules=SanityRules(), text=TEXT)

    assert checked.prediction.signals == {"no_miss": pytest.approx(0.2)}


def test_a_repair_that_removes_nothing_leaves_the_signals_alone() -> None:
    signals = {"min_score": 0.1, "no_miss": 0.9}

    checked = check(a_prediction(a_box("0", -5, 0, 60, 60), signals=signals), task="detection", rules=SanityRules())

    assert checked.prediction.signals == signals


def test_findings_are_counted_by_rule() -> None:
    boxes = a_box("0", 0, 0, 90, 90), a_box("1", 10, 10, 20, 20), a_box("2", 50, 50, 60, 60), a_box("3", 5, 5, 5, 5)

    assert check(a_prediction(*boxes), task="detection", rules=SanityRules()).counts == {
        "nested_box": 2,
        "zero_area": 1,
    }


def test_nothing_found_stays_nothing_found() -> None:
    nothing = Prediction(signals={"no_miss": 0.9})

    assert check(nothing, task="detection", rules=SanityRules()) == Checked(prediction=nothing)


# ---- what holds for every prediction

odd_numbers = st.one_of(
    st.integers(-5, 30).map(float), st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e308, -1e308, 5e-324])
)
numbers = st.one_of(st.integers(0, 20).map(float), odd_numbers)
bitmaps = hnp.arrays(np.bool_, st.just((12, 15)))
words = st.sampled_from(["a", "b", "b", "a b", "thank you", "", " ", "-"])
transcripts = st.lists(words, max_size=30).map(" ".join)
geometries: st.SearchStrategy[Geometry] = st.one_of(
    st.just(WholeItem()),
    st.tuples(numbers, numbers, numbers, numbers).map(lambda xyxy: Box(xyxy=xyxy)),
    st.tuples(*[st.integers(0, 12)] * 2).map(lambda xy: Box(xyxy=(xy[0], xy[1], xy[0] + 5.0, xy[1] + 5.0))),
    st.lists(st.tuples(numbers, numbers), max_size=7).map(lambda points: Polygon(points_xy=tuple(points))),
    bitmaps.map(encode_mask),
    st.text(max_size=5).map(lambda counts: Mask(size_hw=(12, 15), counts=counts)),
    st.tuples(st.integers(-3, 30), st.integers(-3, 30)).map(lambda span: TextSpan(start=span[0], end=span[1])),
    st.tuples(numbers, numbers).map(lambda span: TimeSpan(start_s=span[0], end_s=span[1])),
    st.integers(0, 9).map(lambda start: TimeSpan(start_s=start, end_s=start + 1)),
)
annotations = st.builds(
    Annotation,
    id=st.sampled_from([str(n) for n in range(12)]),
    label=st.sampled_from(["cat", "dog"]),
    geometry=geometries,
    score=st.one_of(st.sampled_from([0.5, 0.9]), st.floats(0, 1), odd_numbers),
    text=st.one_of(st.none(), transcripts),
    parent_id=st.one_of(st.none(), st.sampled_from([str(n) for n in range(12)])),
)
predictions = st.builds(
    Prediction,
    annotations=st.lists(annotations, max_size=12).map(tuple),
    signals=st.dictionaries(st.sampled_from(["min_score", "no_miss", "entropy_max"]), st.floats(0, 1)),
    size_hw=st.sampled_from([None, (12, 15), (0, 0)]),
    duration_s=st.one_of(st.none(), odd_numbers),
)
rule_sets = st.fixed_dictionaries(
    {rule: st.sampled_from(["off", "flag", "fix"]) for rule in RULES}, optional={"crumb_px": st.just(3)}
).map(lambda settings: SETTINGS.validate_python(settings | {"crumb_share": 0.5, "crumb_pieces": 3, "repeat_words": 4}))
everything = st.fixed_dictionaries(
    {
        "task": st.sampled_from(["detection", "segmentation", "ner", "speech"]),
        "rules": rule_sets,
        "text": st.one_of(st.none(), st.text(st.sampled_from("a \n"), max_size=25)),
        "exclusive": st.sampled_from([(), ({"cat": "cat", "dog": "dog"},)]),
    }
)


@given(predictions, everything)
def test_what_was_repaired_is_repaired_no_further(prediction: Prediction, how: dict[str, Any]) -> None:
    once = check(prediction, **how)

    twice = check(once.prediction, **how)

    assert {finding.action for finding in twice.findings} <= {"flagged"}
    assert twice.prediction is once.prediction


@given(predictions, everything)
def test_order_and_ids_are_kept_and_nothing_goes_or_changes_without_a_finding(
    prediction: Prediction, how: dict[str, Any]
) -> None:
    checked = check(prediction, **how)

    before, after = [a.id for a in prediction.annotations], ids(checked)
    removed = [finding.annotation_id for finding in checked.findings if finding.action == "removed"]
    changed = {finding.annotation_id for finding in checked.findings if finding.action == "changed"}
    assert sorted(after + removed) == sorted(before)
    remaining = iter(before)
    assert all(annotation_id in remaining for annotation_id in after)  # a subsequence
    known = {id(annotation) for annotation in prediction.annotations}
    assert {a.id for a in checked.prediction.annotations if id(a) not in known} <= changed
    assert all(finding.message for finding in checked.findings)


@given(predictions, everything)
def test_no_annotation_loses_its_parent(prediction: Prediction, how: dict[str, Any]) -> None:
    checked = check(prediction, **how)

    lost = {a.id for a in prediction.annotations} - set(ids(checked))
    assert not lost & {a.parent_id for a in checked.prediction.annotations}


@given(predictions, everything)
def test_rules_that_only_flag_change_nothing(prediction: Prediction, how: dict[str, Any]) -> None:
    actions = {rule: "flag" for rule in RULES if how["rules"].action(rule) != "off"}

    checked = check(prediction, **(how | {"rules": replace(how["rules"], **(ALL_OFF | actions))}))

    assert checked.prediction is prediction
    assert {finding.rule for finding in checked.findings} <= actions.keys()


@given(predictions, everything)
def test_a_check_gives_the_same_answer_twice(prediction: Prediction, how: dict[str, Any]) -> None:
    assert repr(check(prediction, **how)) == repr(check(prediction, **how))


# ---- many boxes

corners = hnp.arrays(np.int64, st.tuples(st.integers(2, 90), st.just(4)), elements=st.integers(1, 12))


def boxes_of(numbers: np.ndarray) -> np.ndarray:
    """(n, 4): x, y and sides from small numbers, so that many are nested and many alike."""
    start = numbers[:, :2].astype(np.float64)
    return np.concatenate([start, start + numbers[:, 2:] * 3], axis=1)


@given(corners, st.integers(1, 3))
def test_like_boxes_are_those_that_greedy_suppression_finds(numbers: np.ndarray, labels: int) -> None:
    boxes, groups = boxes_of(numbers), np.arange(len(numbers)) % labels

    found = alike(boxes, groups, min_iou=0.6)

    overlaps, expected = geometry.iou(boxes, boxes), dict[int, int]()
    for index in range(len(boxes)):
        kept = [other for other in range(index) if other not in expected and groups[other] == groups[index]]
        better = [other for other in kept if overlaps[other, index] >= 0.6]
        expected |= {index: better[0]} if better else {}
    assert found == expected


@given(corners, st.integers(1, 3))
def test_nested_boxes_are_those_that_comparing_all_finds(numbers: np.ndarray, labels: int) -> None:
    boxes, groups = boxes_of(numbers), np.arange(len(numbers)) % labels

    found = inside(boxes, groups, min_share=0.8, max_iou=0.7)

    areas, overlaps = geometry.area(boxes), geometry.iou(boxes, boxes)
    common = overlaps * (areas[:, None] + areas[None, :]) / (1 + overlaps)
    expected = dict[int, int]()
    order = sorted(range(len(boxes)), key=lambda index: (-areas[index], index))
    for place, index in enumerate(order):
        for other in order[:place]:
            is_inside = common[other, index] >= 0.8 * areas[index] - 1e-9 and overlaps[other, index] < 0.7
            if is_inside and other not in expected and groups[other] == groups[index] and index not in expected:
                expected[index] = other
    assert found == expected


@pytest.mark.parametrize("name", ["apart", "one place", "crowded"])
def test_ten_thousand_boxes_are_not_compared_pair_by_pair(name: str) -> None:
    random = np.random.default_rng(0)
    starts = {
        "apart": np.stack(np.meshgrid(np.arange(100), np.arange(100)), axis=-1).reshape(-1, 2) * 10.0,
        "one place": random.normal(500.0, 2.0, (10_000, 2)),
        "crowded": random.random((10_000, 2)) * 1000.0,
    }[name]
    rows = np.concatenate([starts, starts + (8.0 if name == "apart" else 60.0)], axis=1).tolist()
    prediction = Prediction(annotations=tuple(a_box(str(n), *row) for n, row in enumerate(rows)))

    began = time.process_time()
    check(prediction, task="detection", rules=SanityRules())

    # 0.1 to 0.3 s on one busy core; a loop over 50 million pairs takes a minute.
    assert time.process_time() - began < 5.0


@given(bitmaps)
def test_the_pieces_of_a_mask_are_those_that_flood_filling_finds(bitmap: np.ndarray) -> None:
    mask = encode_mask(bitmap)
    runs = geometry.run_lengths(mask.counts) or []

    found = pieces(runs, size_hw=mask.size_hw)

    assert sorted(found.areas.tolist()) == sorted(_flooded(bitmap.copy()))
    assert found.only(np.ones(len(found.areas), dtype=bool)) == mask
    for number, size in enumerate(found.areas):
        alone = decode_mask(found.only(np.arange(len(found.areas)) == number))
        assert _flooded(alone.copy()) == [size]
        assert (alone <= bitmap).all()


def _flooded(bitmap: np.ndarray) -> list[int]:
    """The sizes of the pieces, found by walking from pixel to pixel, corners included."""
    sizes = list[int]()
    for start in zip(*np.nonzero(bitmap), strict=True):
        waiting, size = [start] if bitmap[start] else [], 0
        while waiting:
            y, x = waiting.pop()
            if 0 <= y < bitmap.shape[0] and 0 <= x < bitmap.shape[1] and bitmap[y, x]:
                bitmap[y, x], size = False, size + 1
                waiting += [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        sizes += [size] if size else []
    return sizes
