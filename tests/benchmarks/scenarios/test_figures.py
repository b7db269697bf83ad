"""Checks the figures that a report is made of."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.scenarios.figures import cost_per_1000, p99, percentile, share_low, slice_of
from tests.benchmarks.scenarios.builders import queries_of


@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=200), st.floats(0.1, 100.0))
def test_a_percentile_is_the_smallest_value_that_covers_its_share(values: list[float], q: float) -> None:
    value = percentile(values, q)

    assert value == np.percentile(values, q, method="inverted_cdf")
    assert value in values


def test_nothing_has_no_percentile() -> None:
    assert percentile([], 50) is None


def test_p99_is_not_claimed_from_few_queries() -> None:
    assert p99([0.1] * 9_999) is None
    assert p99([0.1] * 9_900 + [1.0] * 100) == 0.1
    assert p99([0.1] * 9_899 + [1.0] * 101) == 1.0


def test_rates_count_answers_from_the_first_due_time_to_the_last_answer() -> None:
    part = slice_of(queries_of([0.5] * 10), deadline_s=None)

    assert part.duration_s == pytest.approx(9.5)
    assert part.items_per_s == pytest.approx(10 / 9.5)
    assert (part.in_time, part.goodput_per_s) == (None, None)


def test_goodput_counts_only_what_is_answered_in_time() -> None:
    queries = queries_of([0.1, 0.2, 0.3, 0.4])
    queries[0] = replace(queries[0], code="overloaded")
    queries[1] = replace(queries[1], code="unreadable_image")

    part = slice_of(queries, deadline_s=0.3 + 1e-9)

    assert part.in_time == 0.25
    assert part.goodput_per_s == pytest.approx(1 / 3.4)
    assert (part.answered, part.shed, part.failed) == (2, 1, {"unreadable_image": 1})


def test_failed_queries_neither_speed_up_nor_shorten() -> None:
    """What fails at once must not flatter the rates or the latencies of what is answered."""
    whole = queries_of([0.5] * 10)
    failed = [replace(query, done_s=query.sent_s, code="timeout") for query in whole[5:]]

    part = slice_of([*whole[:5], *failed], deadline_s=None)

    assert part.items_per_s < slice_of(whole, deadline_s=None).items_per_s
    assert part.latency_p50_s == 0.5


def test_a_slice_of_failures_has_no_latency() -> None:
    part = slice_of([replace(query, code="timeout") for query in queries_of([0.5] * 3)], deadline_s=1.0)

    assert (part.items_per_s, part.latency_p50_s, part.in_time) == (0.0, None, 0.0)


def test_cost_is_price_by_rate() -> None:
    # 2 an hour, 100 items/s: 360,000 items an hour.
    assert cost_per_1000(2.0, 100.0) == pytest.approx(2.0 / 360.0)
    assert cost_per_1000(2.0, 0.0) is None


def test_a_share_is_as_sure_as_its_number_allows() -> None:
    # Wilson's interval of 99 of 100 reaches down to 0.9455 (Brown, Cai and DasGupta 2001 use the same formula).
    assert share_low(99, 100) == pytest.approx(0.9455, abs=5e-4)
    assert share_low(9_900, 10_000) > 0.987
    assert share_low(0, 10) == 0.0


def test_the_lower_end_of_a_share_covers_the_truth_as_often_as_it_says() -> None:
    rng, truth, n = np.random.default_rng(0), 0.95, 400
    hits = rng.binomial(n, truth, size=4_000)

    covered = np.mean([share_low(int(hit), n) <= truth for hit in hits])
    naive = np.mean(hits / n <= truth)  # the negative control: the share itself as its own lower end

    assert covered > 0.975 - 5 * math.sqrt(0.975 * 0.025 / len(hits))
    assert naive < 0.7
