"""Breaks while it measures."""

from __future__ import annotations

from benchmarks.ratio import Ratio
from benchmarks.ratios.arms import ArmsDiffer


def measure(*, quick: bool) -> Ratio:
    raise ArmsDiffer("text 3 has other entities\nsee there")
