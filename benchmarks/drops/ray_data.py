"""Compares the batch job with plain Ray Data over the same adapter, which it deliberately does not use."""

from __future__ import annotations

from importlib.metadata import version

from benchmarks.drops.over_loop import items_for, of_rates, rounds_over, told
from benchmarks.drops.work import a_folder, images
from benchmarks.ratio import Ratio

_PROGRAM = "benchmarks.drops.plain_ray_data"


def measure(*, quick: bool) -> Ratio:
    """Rates of labelling on one node, without a bar.

    Ray Data restarts an actor for ever on an item that kills it, goes on by blocks, and knows no attempts of an item;
    the job keeps a database to do better, and this says what that costs or saves.
    """
    return compare(items=items_for(5 if quick else 12, images, probe=256), rounds=1 if quick else 3)


def compare(*, items: int, rounds: int) -> Ratio:
    """The ratio over so many images."""
    with a_folder() as folder:
        pairs, found = rounds_over(images(folder, items), rounds=rounds, module=_PROGRAM)
    return Ratio(
        name="ray_data",
        ours="prelabel annotate",
        peer="Ray Data, one actor",
        unit="items/s",
        rounds=of_rates(pairs),
        bar=None,
        aim=None,
        details={
            "task": "detection",
            "items": items,
            "compute_threads": 1,
            "ray": version("ray"),
            "same": f"all {found} labels equal",
        }
        | told(pairs),
    )
