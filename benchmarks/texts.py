"""Writes texts of mixed lengths, the same for every arm of a comparison."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from models.demo.sentences import held_out_texts

_MEDIAN_WORDS, _SIGMA = 20, 0.9
_LEAST_WORDS, _MOST_WORDS = 3, 200
_SENTENCES = 400


def mixed_lengths(n: int, *, seed: int = 0) -> list[str]:
    """n texts of the demo models' held-out sentences, lognormal in their number of words, in random order.

    The median is 20 words and sigma 0.9, cut to 3 to 200 words (about 1.9 tokens each), so that the longest text of a
    batch is several times its median.
    """
    rng = np.random.default_rng(seed)
    lengths = np.exp(rng.normal(np.log(_MEDIAN_WORDS), _SIGMA, size=n)).round().clip(_LEAST_WORDS, _MOST_WORDS)
    words = _endless_words(seed)
    return [" ".join(next(words) for _ in range(int(length))) for length in lengths]


def sentences(n: int, *, seed: int = 0) -> list[str]:
    """n held-out sentences as the demo model's evaluation has them, each within its 128 tokens."""
    return [sentence.text for sentence in held_out_texts("easy", n=n, seed=seed)]


def _endless_words(seed: int) -> Iterator[str]:
    words = [word for text in sentences(_SENTENCES, seed=seed) for word in text.split()]
    while True:
        yield from words
