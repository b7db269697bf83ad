"""Compares nothing, as a comparison does."""

from __future__ import annotations

from benchmarks.ratio import Ratio, Rounds


def measure(*, quick: bool) -> Ratio:
    return Ratio(
        name="tiny",
        ours="ours",
        peer="theirs",
        unit="items/s",
        rounds=Rounds(ours=(2.0, 6.0, 4.0), peer=(2.0, 2.0, 2.0), stolen=(0.0, 0.02, 0.01), left_out=1),
        bar=1.5,
        aim=3.0,
        details={"quick": int(quick)},
    )
