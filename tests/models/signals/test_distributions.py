"""Checks the measures of single distributions against values worked out by hand and against their stated ranges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models import signals

probabilities = hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(0.0, 1.0))


def distributions(weights: np.ndarray) -> np.ndarray:
    return weights / weights.sum(axis=-1, keepdims=True)


@given(probabilities)
def test_binary_entropy_lies_in_its_range_and_peaks_at_one_half(p: np.ndarray) -> None:
    entropy = signals.binary_entropy(p)

    assert ((entropy >= 0) & (entropy <= 1)).all()
    assert signals.binary_entropy(np.array([0.5]))[0] == pytest.approx(1.0)


@given(hnp.arrays(np.float64, (4, 6), elements=st.floats(0.01, 1.0)))
def test_entropy_and_margin_and_tsallis_lie_in_their_ranges(weights: np.ndarray) -> None:
    p = distributions(weights)

    for values in (signals.normalised_entropy(p), signals.margin(p), signals.tsallis_confidence(p)):
        assert values.shape == (4,)
        assert ((values >= 0) & (values <= 1)).all()


def test_the_uniform_and_the_one_hot_distribution_are_the_two_ends() -> None:
    both = np.array([[0.25, 0.25, 0.25, 0.25], [1.0, 0.0, 0.0, 0.0]])

    assert signals.normalised_entropy(both) == pytest.approx([1.0, 0.0], abs=1e-9)
    assert signals.margin(both) == pytest.approx([1.0, 0.0])
    assert signals.tsallis_confidence(both) == pytest.approx([0.0, 1.0], abs=1e-9)


@pytest.mark.parametrize("size", [2, 10, 51_865])
def test_tsallis_confidence_has_its_ends_at_any_size(size: int) -> None:
    one_hot, uniform = np.eye(1, size)[0], np.full(size, 1.0 / size)

    assert signals.tsallis_confidence(one_hot) == pytest.approx(1.0)
    assert signals.tsallis_confidence(uniform) == pytest.approx(0.0, abs=1e-9)


def test_every_measure_says_less_sure_the_nearer_a_distribution_is_to_uniform() -> None:
    one_hot, uniform = np.eye(1, 5)[0], np.full(5, 0.2)
    mixed = np.array([(1.0 - share) * one_hot + share * uniform for share in np.linspace(0.0, 1.0, 11)])

    assert (np.diff(signals.normalised_entropy(mixed)) > 0).all()
    assert (np.diff(signals.margin(mixed)) > 0).all()
    assert (np.diff(signals.tsallis_confidence(mixed)) < 0).all()


@given(probabilities, st.floats(0.01, 10.0))
def test_a_soft_minimum_lies_between_the_minimum_and_the_mean(scores: np.ndarray, temperature: float) -> None:
    found = signals.softmin(scores, temperature=temperature)

    assert scores.min() <= found <= scores.mean() + 1e-12


def test_a_soft_minimum_sees_that_several_are_weak_and_the_minimum_does_not() -> None:
    one_weak, three_weak = np.array([0.5, 0.9, 0.9, 0.9]), np.array([0.5, 0.5, 0.5, 0.9])

    assert signals.softmin(three_weak) < signals.softmin(one_weak)
    assert three_weak.min() == one_weak.min()


def test_a_soft_minimum_of_two_is_the_value_worked_out_by_hand() -> None:
    weight = np.exp(-2.0)  # of 0.7 against 0.5 at temperature 0.1

    assert signals.softmin(np.array([0.5, 0.7])) == pytest.approx((0.5 + 0.7 * weight) / (1.0 + weight))
