"""Holds exact bounds against other implementations and against what they claim."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from pipelines.bounds import (
    hoeffding_bentkus_p,
    hoeffding_bentkus_upper_bound,
    lower_bound,
    p_value,
    upper_bound,
    zero_error_n,
)
from pipelines.errors import InvalidRequestError

probabilities = st.floats(0.001, 0.5)


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int]:
    n = draw(st.integers(1, 400))
    return draw(st.integers(0, n)), n


def every_count(most: int) -> tuple[np.ndarray, np.ndarray]:
    """All 0 ≤ errors ≤ n ≤ most, n from 1."""
    n, errors = np.meshgrid(np.arange(1, most + 1), np.arange(most + 1))
    possible = errors <= n
    return errors[possible], n[possible]


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_a_p_value_is_the_binomial_tail_for_every_count_up_to_300(alpha: float) -> None:
    errors, n = every_count(300)

    assert np.array_equal(p_value(errors, n, alpha=alpha), binom.cdf(errors, n, alpha))


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_a_p_value_is_mapies_where_its_ratio_gives_the_count_back_and_never_above(alpha: float) -> None:
    from mapie.risk_control.methods import compute_hoeffding_bentkus_p_value

    errors, n = every_count(300)
    rates = errors / n
    theirs = compute_hoeffding_bentkus_p_value(rates, n, alpha, binary=True)[:, 0]
    ours = p_value(errors, n, alpha=alpha)

    is_exact = np.ceil(n * rates) == errors
    assert 0.01 < np.mean(~is_exact) < 0.5  # the ratio does lose counts, so that there is something to get right
    assert np.all(ours <= theirs + 1e-12)
    # Where more are wrong than alpha allows they take Hoeffding's 1, which is as good as any p so great.
    few = is_exact & (rates <= alpha)
    assert few.any()
    np.testing.assert_allclose(ours[few], theirs[few], rtol=1e-9)
    assert np.any(ours[~is_exact] < theirs[~is_exact] - 1e-3)


def test_bounds_are_those_of_statsmodels() -> None:
    from statsmodels.stats.proportion import proportion_confint

    for errors, n in [(0, 10), (1, 10), (3, 200), (10, 10), (199, 200)]:
        low, high = proportion_confint(errors, n, alpha=0.1, method="beta")  # two-sided: 0.05 on either side

        assert lower_bound(errors, n, delta=0.05) == pytest.approx(low, abs=1e-12)
        assert upper_bound(errors, n, delta=0.05) == pytest.approx(high, abs=1e-12)


@given(counts(), probabilities)
def test_so_few_errors_have_probability_delta_at_the_upper_bound(count: tuple[int, int], delta: float) -> None:
    errors, n = count

    bound = upper_bound(errors, n, delta=delta)

    if errors == n:
        assert bound == 1.0
    else:
        assert p_value(errors, n, alpha=bound) == pytest.approx(delta, rel=1e-6)


@given(counts(), probabilities)
def test_the_upper_bound_rises_with_errors_and_confidence(count: tuple[int, int], delta: float) -> None:
    errors, n = count

    bound = upper_bound(errors, n, delta=delta)

    assert lower_bound(errors, n, delta=delta) <= errors / n <= bound
    assert upper_bound(errors, n, delta=delta / 2) >= bound
    if errors < n:
        assert upper_bound(errors + 1, n, delta=delta) > bound


@given(counts(), probabilities)
def test_a_graded_p_value_is_never_below_the_exact_one(count: tuple[int, int], alpha: float) -> None:
    errors, n = count

    assert hoeffding_bentkus_p(float(errors), n, alpha=alpha) >= p_value(errors, n, alpha=alpha) * (1 - 1e-9)


@given(counts(), probabilities, st.floats(0.0, 1.0))
def test_a_graded_p_value_rises_with_the_loss(count: tuple[int, int], alpha: float, more: float) -> None:
    errors, n = count
    greater = min(errors + more, n)

    assert hoeffding_bentkus_p(greater, n, alpha=alpha) >= hoeffding_bentkus_p(errors, n, alpha=alpha) * (1 - 1e-12)


@given(counts(), probabilities)
def test_a_graded_bound_is_where_its_p_value_falls_to_delta(count: tuple[int, int], delta: float) -> None:
    errors, n = count

    bound = hoeffding_bentkus_upper_bound(errors * 0.9, n, delta=delta)

    assert bound >= errors * 0.9 / n
    if bound < 0.999:
        assert hoeffding_bentkus_p(errors * 0.9, n, alpha=bound) <= delta
        assert hoeffding_bentkus_p(errors * 0.9, n, alpha=bound * (1 - 1e-6)) > delta


def test_a_graded_p_value_is_mapies() -> None:
    from mapie.risk_control.methods import compute_hoeffding_bentkus_p_value

    totals = np.array([0.3, 2.5, 7.25, 11.5])
    theirs = compute_hoeffding_bentkus_p_value(totals / 250, 250, 0.05)[:, 0]

    np.testing.assert_allclose(hoeffding_bentkus_p(totals, 250, alpha=0.05), np.minimum(theirs, 1.0), rtol=1e-9)


@pytest.mark.parametrize("trials", [2_000, pytest.param(20_000, marks=pytest.mark.statistics)])
@pytest.mark.parametrize("rate", [0.01, 0.05, 0.3])
def test_the_upper_bound_misses_the_truth_with_delta_at_most_and_a_plain_ratio_far_more(
    rate: float, trials: int
) -> None:
    errors = np.random.default_rng(1).binomial(200, rate, trials)
    bounds = {count: upper_bound(count, 200, delta=0.05) for count in set(errors.tolist())}

    missed = np.mean([bounds[count] < rate for count in errors.tolist()])

    assert missed <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)
    assert np.mean(errors / 200 < rate) > 0.1


@pytest.mark.parametrize(("alpha", "delta", "n"), [(0.05, 0.05, 59), (0.01, 0.05, 299), (0.5, 0.25, 2), (0.5, 0.5, 1)])
def test_the_fewest_labels_that_ever_can_prove_a_rate(alpha: float, delta: float, n: int) -> None:
    assert zero_error_n(alpha, delta) == n
    assert upper_bound(0, n, delta=delta) <= alpha + 1e-12
    assert upper_bound(0, n - 1, delta=delta) > alpha


def test_no_items_prove_nothing() -> None:
    assert upper_bound(0, 0, delta=0.05) == 1.0
    assert lower_bound(0, 0, delta=0.05) == 0.0
    assert p_value(0, 0, alpha=0.05) == 1.0
    assert hoeffding_bentkus_p(0.0, 0, alpha=0.05) == 1.0


def test_impossible_counts_are_refused() -> None:
    for errors, n in [(-1, 5), (6, 5), (0, -1)]:
        with pytest.raises(InvalidRequestError, match="from 0 to n") as caught:
            upper_bound(errors, n, delta=0.05)
        assert caught.value.code == "invalid_argument"
    with pytest.raises(InvalidRequestError, match="at least one is not"):
        p_value(np.array([1, 6]), np.array([5, 5]), alpha=0.05)
    with pytest.raises(InvalidRequestError, match="at least one is not"):
        hoeffding_bentkus_p(math.nan, 5, alpha=0.05)


def test_counts_that_went_through_a_ratio_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match="integers"):
        upper_bound(2.0, 5, delta=0.05)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="integers"):
        p_value(np.array([2.0]), np.array([5]), alpha=0.05)
    with pytest.raises(InvalidRequestError, match="integers"):
        p_value(np.array([2]), np.array([5.0]), alpha=0.05)


@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, 5.0, math.nan])
def test_what_is_no_probability_is_refused(value: float) -> None:
    for call in (
        lambda: upper_bound(1, 5, delta=value),
        lambda: p_value(1, 5, alpha=value),
        lambda: hoeffding_bentkus_p(1.0, 5, alpha=value),
        lambda: zero_error_n(value, 0.05),
    ):
        with pytest.raises(InvalidRequestError, match="between 0 and 1"):
            call()
