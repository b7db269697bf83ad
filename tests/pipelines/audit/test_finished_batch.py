"""Holds a finished batch's certificate to what is truly wrong in it."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom

from pipelines.audit import BatchCertificate, batch_certificate
from pipelines.bounds import upper_bound
from pipelines.errors import InvalidRequestError


@functools.cache
def certified(n_accepted: int, n_audited: int, errors: int) -> BatchCertificate:
    return batch_certificate(n_accepted, n_audited, errors, delta=0.05)


@pytest.mark.parametrize("trials", [1_000, pytest.param(20_000, marks=pytest.mark.statistics)])
@pytest.mark.parametrize("wrong", [0, 5, 30, 120])
@pytest.mark.parametrize("n_audited", [50, 100, 200, 500])
def test_the_residual_error_is_no_more_than_certified(n_audited: int, wrong: int, trials: int) -> None:
    n, rng = 1_000, np.random.default_rng(wrong + n_audited)

    found = rng.hypergeometric(wrong, n - wrong, n_audited, trials).tolist()
    held = [(wrong - errors) / n <= certified(n, n_audited, errors).residual_error_bound for errors in found]

    assert np.mean(held) >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / trials)
    if wrong == 120:  # the control: the audit's own rate is too low about half of the time
        assert np.mean([errors / n_audited >= wrong / n for errors in found]) < 0.7


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_it_is_sharper_than_a_bound_on_the_rate_once_a_tenth_is_audited(share: float) -> None:
    for n in (500, 1_000, 5_000):
        n_audited = int(share * n)
        for errors in (0, 2, n_audited // 30):
            found = certified(n, n_audited, errors)
            assert found.residual_error_bound <= found.most_errors / n < upper_bound(errors, n_audited, delta=0.05)


@given(st.data())
def test_no_batch_with_more_errors_is_as_likely_as_delta(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 300))
    n_audited = data.draw(st.integers(0, n))
    errors = data.draw(st.integers(0, n_audited))

    found = batch_certificate(n, n_audited, errors, delta=0.05)

    most = found.most_errors
    assert errors <= most <= n - n_audited + errors
    assert hypergeom.cdf(errors, n, most, n_audited) > 0.05
    if most < n - n_audited + errors:
        assert hypergeom.cdf(errors, n, most + 1, n_audited) <= 0.05


def test_a_batch_that_was_audited_whole_has_no_errors_left() -> None:
    found = certified(80, 80, 7)

    assert (found.most_errors, found.residual_errors, found.residual_error_bound) == (7, 0, 0.0)


def test_a_batch_without_audits_may_be_all_wrong() -> None:
    assert certified(80, 0, 0).residual_error_bound == 1.0
    assert certified(0, 0, 0).residual_error_bound == 0.0


@pytest.mark.parametrize("counts", [(10, 11, 0), (10, 5, 6), (10, 5, -1)])
def test_impossible_counts_are_refused(counts: tuple[int, int, int]) -> None:
    with pytest.raises(InvalidRequestError, match="errors ≤ audited ≤ accepted"):
        batch_certificate(*counts, delta=0.05)
