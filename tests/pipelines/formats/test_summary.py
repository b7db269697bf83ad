"""Tests what a run is said to have come to."""

from __future__ import annotations

from pipelines.formats.summary import summarise
from tests.pipelines.formats.builders import a_failure, a_result, an_annotation


def test_every_item_is_counted_under_its_status_and_its_route() -> None:
    results = [
        a_result("a", an_annotation(), route="accept"),
        a_result("b", an_annotation(), route="audit"),
        a_result("c", an_annotation(), route="scratch"),
        a_result("d", route="review"),
        a_failure("e"),
    ]

    (summary,) = summarise(results, {})

    assert (summary.items, summary.labels, summary.nothing_found, summary.failed) == (5, 3, 1, 1)
    assert (summary.accepted, summary.review) == (2, 2)


def test_tasks_keep_the_order_in_which_they_come() -> None:
    results = [a_result("a", task="speech"), a_result("b", task="detection"), a_result("c", task="speech")]

    summaries = summarise(results, {"speech": 0.5})

    assert [summary.task for summary in summaries] == ["speech", "detection"]


def test_a_speed_is_given_only_where_time_was_measured() -> None:
    results = [a_result("a", task="speech"), a_result("b", task="speech"), a_result("c", task="detection")]

    speech, detection = summarise(results, {"speech": 0.5})

    assert speech.items_per_s == 4.0
    assert detection.items_per_s is None
