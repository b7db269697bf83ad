"""Misses what it would be compared to."""

from __future__ import annotations

from benchmarks.peers.environment import PeerMissing
from benchmarks.ratio import Ratio


def measure(*, quick: bool) -> Ratio:
    raise PeerMissing("there is no gliner here; install it with make peers")
