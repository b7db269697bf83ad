"""Turns queries into the figures of a report: rates, percentiles, goodput, cost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.scenarios.load import SHED, Query

# Below this, the 99th percentile is a matter of a few queries (MLPerf's own bound, at a margin of 0.05 %, is 262,742).
LEAST_QUERIES_FOR_P99 = 10_000
_Z_95 = 1.959964


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """What one repetition gave.

    Latencies are those of answered queries, counted from when a query was due; None where none was answered.
    ``in_time`` is the share of all queries, failed and shed ones included, that were answered within the deadline;
    ``goodput_per_s`` counts these a second. ``lag_p95_s`` is how late the sender itself was.
    """

    queries: int
    answered: int
    shed: int
    failed: dict[str, int]
    duration_s: float
    items_per_s: float
    latency_p50_s: float | None
    latency_p90_s: float | None
    latency_p95_s: float | None
    in_time: float | None
    goodput_per_s: float | None
    lag_p95_s: float


def slice_of(queries: Sequence[Query], *, deadline_s: float | None) -> Slice:
    """The figures of one repetition, from the first query's due time to the last answer."""
    answered = [query.latency_s for query in queries if query.code is None]
    codes = Counter(query.code for query in queries if query.code is not None)
    duration_s = max(query.done_s for query in queries) - min(query.scheduled_s for query in queries)
    in_time = None if deadline_s is None else sum(latency_s <= deadline_s for latency_s in answered)
    return Slice(
        queries=len(queries),
        answered=len(answered),
        shed=codes.pop(SHED, 0),
        failed=dict(sorted(codes.items())),
        duration_s=duration_s,
        items_per_s=len(answered) / duration_s,
        latency_p50_s=percentile(answered, 50),
        latency_p90_s=percentile(answered, 90),
        latency_p95_s=percentile(answered, 95),
        in_time=None if in_time is None else in_time / len(queries),
        goodput_per_s=None if in_time is None else in_time / duration_s,
        lag_p95_s=percentile([query.lag_s for query in queries], 95) or 0.0,
    )


def percentile(values: Sequence[float], q: float) -> float | None:
    """The smallest value that at least q % of the values do not exceed (nearest rank); None of no values."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(q / 100 * len(values)) - 1)]


def p99(latencies_s: Sequence[float]) -> float | None:
    """The 99th percentile, or None where there are too few values to claim one."""
    return percentile(latencies_s, 99) if len(latencies_s) >= LEAST_QUERIES_FOR_P99 else None


def share_low(hits: int, n: int) -> float:
    """The lower end of the 95 % interval of a share (Wilson 1927)."""
    share, z2 = hits / n, _Z_95**2
    spread = _Z_95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, (share + z2 / (2 * n) - spread) / (1 + z2 / n))


def cost_per_1000(price_per_hour: float, items_per_s: float) -> float | None:
    """What 1,000 items cost on hardware at an hourly price: price / (3.6 × items/s); None where nothing is answered."""
    return price_per_hour / (3.6 * items_per_s) if items_per_s > 0 else None
