"""Checks that arrivals are those of a Poisson process."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.scenarios.arrivals import poisson

_RATE, _N = 50.0, 20_000


def looks_poisson(arrivals_s: list[float], rate: float) -> bool:
    """Whether mean and variance of the counts in windows, and the share of gaps below the mean, are within 5 sigma."""
    gaps = np.diff(arrivals_s, prepend=0.0)
    windows = np.bincount(np.asarray(arrivals_s).astype(int))[:-1]  # a second each; the last is not full
    mean_is_right = abs(gaps.mean() * rate - 1) < 5 / math.sqrt(len(gaps))
    dispersion = windows.var(ddof=1) / windows.mean()  # 1 for a Poisson process, with a variance of 2 / (n - 1)
    short = np.mean(gaps < 1 / rate)  # 1 - 1/e for exponential gaps
    return bool(
        mean_is_right
        and abs(dispersion - 1) < 5 * math.sqrt(2 / (len(windows) - 1))
        and abs(short - (1 - math.exp(-1))) < 5 * 0.5 / math.sqrt(len(gaps))
    )


def test_arrivals_come_at_the_rate_and_as_randomly_as_poisson() -> None:
    arrivals_s = poisson(_RATE, n=_N, rng=np.random.default_rng(0))

    assert len(arrivals_s) == _N
    assert looks_poisson(arrivals_s, _RATE)


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_another_rate_is_told_apart(factor: float) -> None:
    assert not looks_poisson(poisson(factor * _RATE, n=_N, rng=np.random.default_rng(0)), _RATE)


def test_even_and_uniform_gaps_are_told_apart() -> None:
    rng = np.random.default_rng(0)

    assert not looks_poisson((np.arange(1, _N + 1) / _RATE).tolist(), _RATE)
    assert not looks_poisson(np.cumsum(rng.uniform(0, 2 / _RATE, _N)).tolist(), _RATE)


def test_the_same_seed_gives_the_same_arrivals() -> None:
    one, same, other = (poisson(_RATE, n=5, rng=np.random.default_rng(seed)) for seed in (1, 1, 2))

    assert one == same != other


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="positive rate"):
        poisson(0.0, n=1, rng=np.random.default_rng(0))
