"""Misses what it would be compared to."""

from __future__ import annotations

from benchmarks.ratio import Ratio
from benchmarks.ratios.registry import PeerMissing


def measure(*, quick: bool) -> Ratio:
    raise PeerMissing("there is no gliner here; install it with make peers")
