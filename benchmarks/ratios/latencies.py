"""Names the ways to form batches that are compared, and what each did under a load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Arm = Literal["late_binding", "fixed_wait", "long_wait", "blocking_loop"]
Network = Literal["sleep", "bert"]
ARMS: tuple[Arm, ...] = ("late_binding", "fixed_wait", "long_wait", "blocking_loop")
DRAIN_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """What one arm did under one load.

    Latency counts from the scheduled arrival. An item that is not answered ``DRAIN_S`` seconds after the last arrival
    counts with its age then: less than it would have been.
    """

    p50_ms: float
    p95_ms: float
    items: int
    late: int
    mean_batch: float
