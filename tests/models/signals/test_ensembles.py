"""Checks that disagreement is told apart from doubt that all members share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models import signals

weights = hnp.arrays(np.float64, st.tuples(st.integers(1, 5), st.just(3), st.just(4)), elements=st.floats(0.01, 1.0))


def test_members_that_share_a_doubt_do_not_disagree_and_sure_ones_that_differ_do() -> None:
    unsure = np.full((4, 1, 2), 0.5)
    apart = np.array([[[1.0, 0.0]], [[0.0, 1.0]], [[1.0, 0.0]], [[0.0, 1.0]]])

    assert signals.mutual_information(unsure) == pytest.approx([0.0], abs=1e-9)
    assert signals.mutual_information(apart) == pytest.approx([1.0])
    assert signals.variation_ratio(unsure) == pytest.approx([0.0])
    assert signals.variation_ratio(apart) == pytest.approx([0.5])


@given(weights)
def test_disagreement_lies_in_its_range(members: np.ndarray) -> None:
    p = members / members.sum(axis=-1, keepdims=True)

    information, ratio = signals.mutual_information(p), signals.variation_ratio(p)

    assert information.shape == ratio.shape == (3,)
    assert ((information >= 0) & (information <= 1)).all()
    assert ((ratio >= 0) & (ratio <= 1 - 1 / len(p) + 1e-12)).all()


def test_the_more_members_drift_apart_the_more_they_disagree() -> None:
    drifts = np.linspace(0.0, 0.49, 8)
    pairs = [np.array([[[0.5 + drift, 0.5 - drift]], [[0.5 - drift, 0.5 + drift]]]) for drift in drifts]

    found = [float(signals.mutual_information(pair)[0]) for pair in pairs]

    assert found == sorted(found)
    assert found[-1] > 0.8


def test_a_text_without_tokens_disagrees_on_nothing() -> None:
    assert set(signals.dropout(np.zeros((3, 0, 5))).values()) == {0.0}
