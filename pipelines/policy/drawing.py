"""Draws a number for an item that is fixed once its policy is, and has nothing to do with what its label will be."""

from __future__ import annotations

import hashlib

_BITS = 53  # as many as a float in [0, 1) holds


def draw(seed: str, *parts: str) -> float:
    """A number in [0, 1), uniform over items: the first 53 bits of the sha256 of the seed and the parts.

    The same item is drawn alike whenever it comes, so nobody can label it again and again until no audit is drawn, and
    a run that was killed goes on with the same draws.
    """
    digest = hashlib.sha256("\x00".join((seed, *parts)).encode("utf-8", "surrogatepass")).digest()
    return (int.from_bytes(digest[:8], "big") >> (64 - _BITS)) / 2**_BITS
