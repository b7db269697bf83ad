"""Runs the batch job and a plain loop over the same work in turn."""

from __future__ import annotations

import math
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path

from benchmarks.drops import peer
from benchmarks.drops.agreement import agreed
from benchmarks.drops.command import Annotated, annotate
from benchmarks.drops.peer import Peer
from benchmarks.drops.work import Work, a_folder
from benchmarks.ratio import Kept, Ratio, Rounds, in_turn, kept

LOOP = "benchmarks.drops.loop"
_SPARE = 1.25  # a short run counts the first batch, the slowest, for more than a long one does

LayOut = Callable[[Path, int], Work]


def items_for(seconds: float, lay_out: LayOut, *, probe: int) -> int:
    """How many items keep the plain loop busy for so many seconds and more, as ``probe`` of them tell."""
    with a_folder() as folder:
        rate = peer.label(LOOP, lay_out(folder, probe), "probe").items_per_s
    return math.ceil(_SPARE * seconds * rate)


def rounds_over(work: Work, *, rounds: int, module: str = LOOP) -> tuple[Kept[tuple[Annotated, Peer]], int]:
    """What both arms did in each round, and how many labels they agree on in the first.

    Args:
        module: the peer's program.

    Raises:
        ArmsDiffer: they found different things.
    """
    found = 0

    def measure(number: int) -> tuple[Annotated, Peer]:
        nonlocal found
        pair = in_turn(
            lambda: annotate(work, f"ours-{number}"), lambda: peer.label(module, work, f"peer-{number}"), number=number
        )
        found = found or agreed(pair[0].out, pair[1].results)
        for name in (f"ours-{number}", f"peer-{number}"):
            shutil.rmtree(work.folder / name)
        return pair

    return kept(measure, rounds=rounds), found


def of_rates(pairs: Kept[tuple[Annotated, Peer]]) -> Rounds:
    """Items per second of labelling, without the starts of both."""
    return Rounds(
        ours=tuple(ours.items_per_s for ours, _ in pairs.rounds),
        peer=tuple(other.items_per_s for _, other in pairs.rounds),
        stolen=pairs.stolen,
        left_out=pairs.left_out,
    )


def of_wall_times(pairs: Kept[tuple[Annotated, Peer]]) -> Rounds:
    """Seconds from start to exit."""
    return Rounds(
        ours=tuple(ours.wall_s for ours, _ in pairs.rounds),
        peer=tuple(other.wall_s for _, other in pairs.rounds),
        stolen=pairs.stolen,
        left_out=pairs.left_out,
    )


def told(pairs: Kept[tuple[Annotated, Peer]]) -> dict[str, float]:
    """The medians of both arms: labelling alone, and the whole from start to exit."""
    ours, peers = [own for own, _ in pairs.rounds], [other for _, other in pairs.rounds]
    medians = {
        "ours_labelling_s": statistics.median(one.labelling_s for one in ours),
        "peer_labelling_s": statistics.median(one.labelling_s for one in peers),
        "ours_whole_s": statistics.median(one.wall_s for one in ours),
        "peer_whole_s": statistics.median(one.wall_s for one in peers),
        "whole_ratio_of_rates": statistics.median(other.wall_s / own.wall_s for own, other in pairs.rounds),
    }
    return {name: round(value, 3) for name, value in medians.items()}


def rate_over_loop(name: str, lay_out: LayOut, *, seconds: float, rounds: int, probe: int) -> Ratio:
    """The rate of labelling by that of a plain loop, on ``seconds`` of work."""
    items = items_for(seconds, lay_out, probe=probe)
    with a_folder() as folder:
        work = lay_out(folder, items)
        pairs, found = rounds_over(work, rounds=rounds)
    return Ratio(
        name=name,
        ours="prelabel annotate",
        peer="plain adapter loop",
        unit="items/s",
        rounds=of_rates(pairs),
        bar=0.85,
        aim=0.95,
        details={"task": work.task, "items": items, "compute_threads": 1, "same": f"all {found} labels equal"}
        | told(pairs),
    )
