"""Tests that a report says what a run failed on."""

from __future__ import annotations

import re

from models.errors import ItemError
from pipelines import retries
from pipelines.formats.report.failures import MEANINGS, failure_rows
from pipelines.store.values import ErrorCount


def test_the_most_frequent_failure_comes_first() -> None:
    rows = failure_rows({"b": 1, "a": 1, "timeout": 3}, [])

    assert [(row.code, row.items, row.retrying) for row in rows] == [
        ("timeout", 3, None),
        ("a", 1, None),
        ("b", 1, None),
    ]


def test_numbers_that_are_given_count_and_codes_that_they_leave_out_are_kept() -> None:
    given = [ErrorCount(code="timeout", items=9, retrying=4), ErrorCount(code="over", items=0, retrying=0)]

    rows = failure_rows({"timeout": 7, "too_large": 2}, given)

    assert [(row.code, row.items, row.retrying) for row in rows] == [("timeout", 9, 4), ("too_large", 2, None)]


def test_an_unknown_code_has_no_meaning() -> None:
    (row,) = failure_rows({"a_code_of_tomorrow": 1}, [])

    assert row.meaning == ""


def test_every_code_of_an_item_has_a_meaning() -> None:
    _, _, codes = (ItemError.__doc__ or "").partition("Codes:")
    codes = re.sub(r"\([^)]*\)|; and [^:]*:", ", ", codes)  # what is said of some of them
    documented = set(re.findall(r"[a-z_]+", codes))

    assert {"unreadable_image", "device_lost"} <= documented
    assert documented | retries.RETRYABLE <= set(MEANINGS)


def test_meanings_are_sentences() -> None:
    assert [meaning for meaning in MEANINGS.values() if not re.fullmatch(r"[A-Z].{10,110}\.", meaning)] == []
