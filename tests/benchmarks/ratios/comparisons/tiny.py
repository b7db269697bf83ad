"""Compares nothing, as a comparison does."""

from __future__ import annotations

from benchmarks.ratio import Ratio


def measure(*, quick: bool) -> Ratio:
    return Ratio(
        name="tiny",
        ours="ours",
        peer="theirs",
        unit="items/s",
        ours_values=(2.0, 6.0, 4.0),
        peer_values=(2.0, 2.0, 2.0),
        bar=1.5,
        aim=3.0,
        details={"quick": int(quick)},
    )
