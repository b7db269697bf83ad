"""Tests what a report says of a run beside its items, each only where there is something to say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipelines.formats import report
from pipelines.formats.report.page import MAX_UNMAPPED
from pipelines.formats.summary import TaskSummary
from pipelines.store.values import ErrorCount
from tests.pipelines.formats.builders import a_failure, a_result
from tests.pipelines.formats.report.pages import Page, an_entry, page

HEADINGS = ("Failures by code", "Sanity checks", "Unmapped labels", "About this run")


def of_file(file: Path) -> Page:
    return Page(file.read_text(encoding="utf-8"))


def rows(found: Page) -> list[str]:
    """The rows of all tables but the first, as text."""
    tables = re.findall(r"<table class=\"slim\">.*?</table>", found.html, re.DOTALL)
    return [" ".join(Page(row).text.split()) for table in tables for row in re.findall(r"<tr>(.*?)</tr>", table)]


def test_a_run_of_which_nothing_more_is_known_has_no_panels(tmp_path: Path) -> None:
    found = page(tmp_path, an_entry(a_result()))

    assert [heading for heading in HEADINGS if heading in found.text] == []
    assert len(found.all("table")) == 1


def test_failures_are_counted_by_code_and_explained(tmp_path: Path) -> None:
    failures = [a_failure("a"), a_failure("b"), a_failure("c", code="a_code_of_tomorrow")]

    found = page(tmp_path, an_entry(a_result()), *map(an_entry, failures))

    assert rows(found) == [
        "CodeItemsWhat it means",
        "unreadable_image2The image is damaged, or in a format that is not taken.",
        "a_code_of_tomorrow1",
    ]


@pytest.mark.parametrize(("retrying", "said"), [(0, "no"), (1_200, "yes"), (700, "700 of 1,200")])
def test_a_failure_says_whether_it_will_be_tried_again(tmp_path: Path, retrying: int, said: str) -> None:
    errors = [ErrorCount(code="timeout", items=1_200, retrying=retrying)]

    report.write([an_entry(a_failure(code="too_large"))], tmp_path / "a.html", title="A run", errors=errors)

    _, first, second = rows(of_file(tmp_path / "a.html"))
    assert first == f"timeout1,200{said}It was not done in the time that it may take."
    assert second == "too_large1–The item is larger than the limits allow."


def test_failures_of_which_none_will_be_tried_again_say_so_once(tmp_path: Path) -> None:
    errors = [ErrorCount(code="timeout", items=12, retrying=0), ErrorCount(code="too_large", items=1, retrying=0)]

    report.write([], tmp_path / "a.html", title="A run", errors=errors)

    found = of_file(tmp_path / "a.html")
    assert "None will be tried again." in found.text
    assert rows(found) == [
        "CodeItemsWhat it means",
        "timeout12It was not done in the time that it may take.",
        "too_large1The item is larger than the limits allow.",
    ]


def test_findings_are_counted_by_rule_and_rules_that_are_off_named(tmp_path: Path) -> None:
    sanity = {"sliver": (17, 0, 0), "zero_area": (0, 0, 0), "outside_image": (0, 1_214, 3)}

    report.write([], tmp_path / "a.html", title="A run", sanity=sanity, rules_off=["tiny_box", "duplicate"])

    found = of_file(tmp_path / "a.html")
    assert rows(found) == ["RuleFlaggedChangedRemoved", "sliver1700", "outside_image01,2143"]
    assert "Nothing found: zero_area\n" in found.text
    assert "Switched off: tiny_box, duplicate\n" in found.text


def test_rules_that_are_off_are_named_where_nothing_was_checked(tmp_path: Path) -> None:
    report.write([], tmp_path / "a.html", title="A run", rules_off=["tiny_box"])

    found = of_file(tmp_path / "a.html")
    assert "Switched off: tiny_box" in found.text
    assert "Nothing found:" not in found.text
    assert len(found.all("table")) == 1


def test_unmapped_labels_come_by_their_number_and_the_rest_is_counted(tmp_path: Path) -> None:
    unmapped = {"rare": 1, "often": 2_000} | {f"label {place}": 5 for place in range(MAX_UNMAPPED + 2)}

    report.write([], tmp_path / "a.html", title="A run", unmapped=unmapped)

    found = of_file(tmp_path / "a.html")
    (counted,) = re.findall(r"<ul class=\"counted\">(.*?)</ul>", found.html, re.DOTALL)
    shown = [Page(line).text for line in re.findall(r"<li>(.*?)</li>", counted)]
    assert shown[:3] == ["often 2,000", "label 0 5", "label 1 5"]
    assert len(shown) == MAX_UNMAPPED
    assert "4 more labels, which came 16 times in all" in found.text


def test_facts_of_the_run_are_folded_away_in_their_order(tmp_path: Path) -> None:
    facts = {"run": "01JD", "source": "s3://bucket/drop", "a": "b"}

    report.write([], tmp_path / "a.html", title="A run", facts=facts)

    found = of_file(tmp_path / "a.html")
    assert [Page(line).text for line in re.findall(r"<dt>.*?</dd>", found.html)] == [
        "run01JD",
        "sources3://bucket/drop",
        "ab",
    ]
    assert all("open" not in attrs for attrs in found.all("details"))


@pytest.mark.parametrize(("items", "said"), [(1, "1 item"), (26, "26 items"), (10_000_000, "10,000,000 items")])
def test_the_heading_says_how_many_items_there_are(tmp_path: Path, items: int, said: str) -> None:
    numbers = TaskSummary(
        task="ner", items=items, labels=items, nothing_found=0, failed=0, accepted=items, review=0, items_per_s=None
    )

    report.write([], tmp_path / "a.html", title="A run", summary=[numbers])

    found = of_file(tmp_path / "a.html")
    assert f"<title>A run · {said}</title>" in found.html
    assert Page(re.findall(r"<h1>.*?</h1>", found.html)[0]).text == f"A run {said}"


def test_a_run_of_nothing_has_only_its_title(tmp_path: Path) -> None:
    html = page(tmp_path).html

    assert "<title>A run</title>" in html
    assert "<h1>A run</h1>" in html


HOSTILE = "</title></style><script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u202e"


def test_markup_in_what_panels_show_stays_text(tmp_path: Path) -> None:
    report.write(
        [an_entry(a_failure(code=HOSTILE))],
        tmp_path / "a.html",
        title=HOSTILE,
        errors=[ErrorCount(code=HOSTILE + "2", items=1, retrying=0)],
        sanity={HOSTILE: (1, 2, 3), HOSTILE + "2": (0, 0, 0)},
        rules_off=[HOSTILE],
        unmapped={HOSTILE: 1},
        facts={HOSTILE: HOSTILE},
    )

    found = of_file(tmp_path / "a.html")
    assert len(found.all("script")) == 1
    assert not found.all("img")
    assert not [attrs for _, attrs in found.elements if "onerror" in attrs]
    assert "\u202e" not in found.html
    assert found.text.count("<script>alert(1)</script>") >= 10
