"""Tests that findings and unmapped labels of many pre-labels are counted, ordered and said."""

from __future__ import annotations

from dataclasses import replace

from pipelines.formats.results import result
from pipelines.remarks import FindingCount, Remarks, UnmappedCount, remarks_on, sentences
from pipelines.sanity import Deed, Finding, MoreFindings, Rule
from pipelines.types import PreLabel
from tests.pipelines.builders import a_labelled, a_pre_label


def a_finding(rule: Rule = "sliver", action: Deed = "flagged", *, annotation_id: str = "0") -> Finding:
    return Finding(rule=rule, annotation_id=annotation_id, action=action, message=f"breaks {rule}")


def remarked(
    *findings: Finding, more: tuple[MoreFindings, ...] = (), unmapped: dict[str, int] | None = None
) -> PreLabel:
    return replace(a_pre_label(), findings=findings, more_findings=more, unmapped=unmapped or {})


MANY = (
    remarked(a_finding(), a_finding(annotation_id="1"), unmapped={"tram": 2}),
    remarked(
        a_finding("zero_area", "removed"), a_finding(), more=(MoreFindings(rule="sliver", action="flagged", count=40),)
    ),
    remarked(a_finding("sliver", "removed"), unmapped={"tram": 1, "bus": 7, "cart": 3}),
    remarked(),
)


def test_findings_are_counted_by_rule_and_action_with_the_items_that_have_them() -> None:
    assert remarks_on(MANY).findings == (
        FindingCount(rule="zero_area", action="removed", findings=1, items=1),
        FindingCount(rule="sliver", action="flagged", findings=43, items=2),
        FindingCount(rule="sliver", action="removed", findings=1, items=1),
    )


def test_unmapped_labels_come_by_their_number() -> None:
    assert remarks_on(MANY).unmapped == (
        UnmappedCount(label="bus", annotations=7, items=1),
        UnmappedCount(label="cart", annotations=3, items=1),
        UnmappedCount(label="tram", annotations=3, items=2),
    )


def test_results_have_the_remarks_of_their_pre_labels() -> None:
    results = [result(a_labelled(pre_label=pre_label)) for pre_label in MANY]

    assert remarks_on(results) == remarks_on(MANY)


def test_a_report_is_told_of_rules_that_found_nothing_too() -> None:
    found = remarks_on(MANY).by_rule(["nested_box", "sliver"])

    assert found == {"zero_area": (0, 0, 1), "sliver": (43, 0, 1), "nested_box": (0, 0, 0)}
    assert list(found) == ["zero_area", "sliver", "nested_box"]
    assert Remarks().by_rule() == {}


def test_remarks_are_said_in_a_line_each_and_only_where_there_are_any() -> None:
    many = remarks_on([remarked(unmapped={f"label {n}": 1 for n in range(8)})])

    assert list(sentences(Remarks())) == []
    assert list(sentences(remarks_on(MANY))) == [
        "sanity rules: zero_area removed 1, sliver flagged 43, sliver removed 1",
        "labels without a class: 'bus' 7, 'cart' 3, 'tram' 3",
    ]
    assert list(sentences(many)) == [
        "labels without a class: 'label 0' 1, 'label 1' 1, 'label 2' 1, 'label 3' 1, 'label 4' 1, and 3 more"
    ]
