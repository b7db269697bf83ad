"""Compares the whole of a small job, from start to exit, with the whole of a plain loop."""

from __future__ import annotations

from benchmarks.drops.over_loop import of_wall_times, rounds_over, told
from benchmarks.drops.work import a_folder, recordings
from benchmarks.ratio import Ratio

_ITEMS = 64


def measure(*, quick: bool) -> Ratio:
    """Ours starts and stops an embedded PostgreSQL that is made for it, and writes Parquet and a report, too."""
    return compare(items=_ITEMS, rounds=2 if quick else 5)


def compare(*, items: int, rounds: int) -> Ratio:
    """The ratio of seconds from start to exit."""
    with a_folder() as folder:
        pairs, found = rounds_over(recordings(folder, items), rounds=rounds)
    return Ratio(
        name="few_items",
        ours="prelabel annotate, start to exit",
        peer="plain adapter loop, start to exit",
        unit="s",
        rounds=of_wall_times(pairs),
        bar=1.3,
        aim=1.1,
        direction="at_most",
        details={"task": "speech", "items": items, "compute_threads": 1, "same": f"all {found} labels equal"}
        | told(pairs),
    )
