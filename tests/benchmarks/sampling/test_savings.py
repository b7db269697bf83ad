"""Checks the claims about saved labels on digits, with the control that must fail."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.sampling.digits import Kind, digits
from benchmarks.sampling.learning import LABELS, Arm, curve, uncertainties
from benchmarks.sampling.savings import KINDS, QUICK_ARMS, Curves, figures, judgements, labels_to, learning_curves

SEEDS = [6, pytest.param(20, marks=pytest.mark.statistics)]


@pytest.mark.parametrize("seeds", SEEDS)
def test_hybrid_saves_labels_and_the_most_uncertain_waste_them_on_near_duplicates(seeds: int) -> None:
    found: dict[Kind, dict[str, dict[str, Any]]] = {
        kind: figures(learning_curves(kind, QUICK_ARMS, seeds=seeds, progress=lambda line: None)) for kind in KINDS
    }

    judged = judgements(found, seeds=seeds)

    assert len(judged) == 6
    assert [(one.what, one.value) for one in judged if not one.is_met] == []


def test_the_claims_fail_for_a_strategy_that_saves_nothing() -> None:
    curves = {kind: some_curves() for kind in KINDS}

    judged = judgements({kind: figures(curves[kind]) for kind in KINDS}, seeds=4)

    assert not any(one.is_met for one in judged)


def some_curves() -> Curves:
    """Random sampling under every name, and entropy above it."""
    rising = np.linspace(0.5, 0.95, len(LABELS))
    return {
        "random": np.tile(rising, (4, 1)),
        "hybrid": np.tile(rising, (4, 1)),
        "entropy": np.tile(rising + 0.01, (4, 1)),
    }


def test_the_pools_are_what_they_are_called() -> None:
    plain, doubled, rare = (digits(kind, np.random.default_rng(0)) for kind in KINDS)

    assert len(plain.pixels) == 1198
    assert len(doubled.pixels) == 5 * 1198
    assert np.abs(doubled.pixels[0] - doubled.pixels[1]).max() < 0.1
    counts = np.bincount(rare.classes)
    assert counts[[1, 5, 8]].max() < 25
    assert counts[[0, 2, 3, 4, 6, 7, 9]].min() > 100
    assert len(plain.test_pixels) == len(rare.test_pixels) == 599


def test_a_curve_starts_at_the_same_labels_for_every_strategy_and_is_repeatable() -> None:
    pool = digits("plain", np.random.default_rng(0))

    first, again, other = (curve(pool, Arm(name=name, strategy="margin"), seed=3) for name in "abc")

    assert first.tolist() == again.tolist() == other.tolist()
    assert first[0] == curve(pool, Arm(name="r", strategy="random"), seed=3)[0]


def test_uncertainties_lie_between_sure_and_no_idea() -> None:
    found = uncertainties(np.array([[1.0, 0.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]]))

    for values in found.values():
        np.testing.assert_allclose(values, [0.0, 1.0] if values is not found["least_confidence"] else [0.0, 0.75])


def test_a_target_that_is_never_reached_has_no_labels() -> None:
    curves = np.array([np.linspace(0.0, 1.0, len(LABELS))])

    assert labels_to(curves, 0.5) == 180
    assert labels_to(curves, 1.5) is None
