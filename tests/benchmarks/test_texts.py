"""Checks the texts that comparisons send."""

from __future__ import annotations

import numpy as np

from benchmarks import texts


def test_mixed_lengths_are_the_same_in_every_arm() -> None:
    assert texts.mixed_lengths(50, seed=1) == texts.mixed_lengths(50, seed=1)
    assert texts.mixed_lengths(50, seed=1) != texts.mixed_lengths(50, seed=2)


def test_mixed_lengths_are_lognormal_in_words() -> None:
    lengths = np.array([len(text.split()) for text in texts.mixed_lengths(1000)])

    assert 3 <= lengths.min() <= 4
    assert 180 <= lengths.max() <= 200
    assert 17 <= np.median(lengths) <= 23
    assert np.percentile(lengths, 90) > 2.5 * np.median(lengths)
