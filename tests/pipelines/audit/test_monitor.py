"""Checks evidence that is looked at after every audit: when it speaks, and how seldom it speaks wrongly."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.audit import Evidence, alarm, proof
from pipelines.errors import InvalidRequestError

ALPHA = DELTA = 0.05
RUNS = pytest.mark.parametrize("runs", [300, pytest.param(2_000, marks=pytest.mark.statistics)])


def streams(rate: float, runs: int, n: int = 2_000) -> np.ndarray:
    return (np.random.default_rng(int(rate * 1_000)).random((runs, n)) < rate).astype(float)


def alarmed(losses: np.ndarray) -> Evidence:
    return alarm(losses, alpha=ALPHA, delta=DELTA)


def bar(runs: int) -> float:
    return DELTA + 3 * math.sqrt(DELTA * (1 - DELTA) / runs)


@RUNS
def test_false_alarms_are_rare_though_somebody_looks_after_every_audit(runs: int) -> None:
    assert np.mean([alarmed(stream).is_shown for stream in streams(ALPHA, runs)]) <= bar(runs)


@RUNS
def test_looking_again_and_again_at_a_test_for_one_look_alarms_falsely(runs: int) -> None:
    from scipy.stats import binom

    counts = np.cumsum(streams(ALPHA, runs), axis=1)
    looks = np.arange(49, 2_000, 10)
    p_values = binom.sf(counts[:, looks] - 1, looks + 1, ALPHA)

    assert np.mean((p_values <= DELTA).any(axis=1)) > 0.2


@RUNS
@pytest.mark.parametrize(("rate", "most"), [(0.10, 250), (0.15, 80)])
def test_drift_is_noticed_after_few_audits(rate: float, most: int, runs: int) -> None:
    delays = [alarmed(stream).crossed_after or 10**9 for stream in streams(rate, runs)]

    assert np.median(delays) <= most


@RUNS
def test_a_low_error_rate_is_proven_and_one_at_alpha_is_not(runs: int) -> None:
    low = [proof(stream, alpha=ALPHA, delta=DELTA).crossed_after or 10**9 for stream in streams(0.02, runs)]
    at_alpha = [proof(stream, alpha=ALPHA, delta=DELTA).is_shown for stream in streams(ALPHA, runs)]

    assert np.mean(np.array(low) < 10**9) > 0.99
    assert np.median(low) < 300
    assert np.mean(at_alpha) <= bar(runs)


@pytest.mark.parametrize("runs", [100, pytest.param(1_000, marks=pytest.mark.statistics)])
def test_weighted_streams_of_all_items_keep_both_promises(runs: int) -> None:
    # Audits with probability 0.1 or 0.4, more often where errors are: only the weights make the rate right.
    rng, shown = np.random.default_rng(3), {"null": 0, "twice": 0, "unweighted": 0, "proof": 0}

    for _ in range(runs):
        is_risky = rng.random(6_000) < 0.25
        probabilities = np.where(is_risky, 0.4, 0.1)
        is_audited = rng.random(6_000) < probabilities
        for name, factor in (("null", 1.0), ("twice", 2.0)):
            wrong = rng.random(6_000) < factor * np.where(is_risky, 0.14, 0.02)  # 0.05 in all
            losses = (wrong & is_audited).astype(float)
            found = alarm(losses, alpha=ALPHA, delta=DELTA, probabilities=probabilities, least_probability=0.1)
            shown[name] += found.is_shown
            if name == "null":
                shown["unweighted"] += alarmed(losses[is_audited]).is_shown
                weights = {"probabilities": probabilities, "least_probability": 0.1}
                shown["proof"] += proof(losses, alpha=ALPHA, delta=DELTA, **weights).is_shown  # type: ignore[arg-type]

    assert shown["null"] / runs <= bar(runs)
    assert shown["proof"] / runs <= bar(runs)
    assert shown["twice"] / runs > 0.95
    assert shown["unweighted"] / runs > 0.9


def test_the_path_is_the_mean_of_the_products_of_all_bets() -> None:
    losses = np.array([0.0, 1.0, 0.5, 0.0])
    bets = (np.array([1.5, 2, 3, 5, 9, 13]) - 1) / (1 - ALPHA)

    found = alarmed(losses)

    by_hand = [np.mean([np.prod(1 + bet * (losses[:n] - ALPHA)) for bet in bets]) for n in range(1, 5)]
    np.testing.assert_allclose(np.exp(found.log_e), by_hand)


def test_a_long_stream_neither_overflows_nor_forgets() -> None:
    found = alarmed(np.concatenate([np.ones(50_000), np.zeros(10)]))

    assert np.all(np.isfinite(found.log_e))
    assert found.crossed_after == 2
    assert found.is_shown
    assert proof(np.zeros(100_000), alpha=ALPHA, delta=DELTA).log_e[-1] > 1_000


@given(
    st.lists(st.floats(0.0, 1.0), min_size=1, max_size=50),
    st.floats(0.001, 0.99),
    st.floats(0.01, 1.0),
)
def test_wealth_stays_positive_whatever_comes(values: list[float], alpha: float, least: float) -> None:
    losses, weights = np.array(values), np.full(len(values), least)

    for claim in (alarm, proof):
        found = claim(losses, alpha=alpha, delta=DELTA, probabilities=weights, least_probability=least)
        assert np.all(np.isfinite(found.log_e))


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_an_error_raises_the_alarm_and_lowers_the_proof(errors: list[bool]) -> None:
    losses = np.array(errors, dtype=float)

    one, other = alarmed(losses).log_e, proof(losses, alpha=ALPHA, delta=DELTA).log_e

    steps, opposite = np.diff(one, prepend=0.0), np.diff(other, prepend=0.0)
    assert np.array_equal(steps > 0, losses == 1.0)
    assert np.array_equal(opposite > 0, losses == 0.0)


def test_nothing_seen_shows_nothing() -> None:
    assert alarmed(np.zeros(0)).crossed_after is None


def test_impossible_streams_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match=r"losses must be in \[0, 1\]"):
        alarmed(np.array([20.0]))
    with pytest.raises(InvalidRequestError, match="below least_probability"):
        alarm(np.ones(1), alpha=ALPHA, delta=DELTA, probabilities=np.array([0.05]), least_probability=0.1)
    with pytest.raises(InvalidRequestError, match="least_probability must be"):
        proof(np.ones(1), alpha=ALPHA, delta=DELTA, least_probability=0.0)
    with pytest.raises(InvalidRequestError, match="alpha must be"):
        alarm(np.ones(1), alpha=1.0, delta=DELTA)
