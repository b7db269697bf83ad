"""Checks what a comparison of batchings tells of each load."""

from __future__ import annotations

import pytest

from benchmarks.ratios.late_binding import LEVELS, described
from benchmarks.ratios.latencies import ARMS, Arm, Latencies


def a_round(p95_ms: float) -> dict[Arm, Latencies]:
    """Every arm took twice as long as the one before it."""
    return {
        arm: Latencies(p50_ms=p95_ms * 2**n / 4, p95_ms=p95_ms * 2**n, items=100, late=n, mean_batch=8.0)
        for n, arm in enumerate(ARMS)
    }


@pytest.mark.parametrize("level", LEVELS)
def test_the_medians_of_both_arms_are_told_for_each_load(level: float) -> None:
    details = described(f"sleep.{level}", [a_round(ms) for ms in (100.0, 120.0, 900.0)])

    assert details[f"sleep.{level}.late_binding.p50_ms"] == 30.0
    assert details[f"sleep.{level}.late_binding.p95_ms"] == 120.0
    assert details[f"sleep.{level}.fixed_wait.p50_ms"] == 60.0
    assert details[f"sleep.{level}.fixed_wait.p95_ms"] == 240.0
    assert details[f"sleep.{level}.p95_to_best_setting_of_peer"] == 0.5
