"""Compares batches formed when the accelerator is free with Ray Serve's own batching by a fixed wait."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

from benchmarks import cluster
from benchmarks.arrivals import Load
from benchmarks.ratio import Kept, Ratio, Rounds, kept
from benchmarks.ratios.latencies import ARMS, Arm, Latencies, Network

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

LEVELS = (0.5, 0.8, 0.95)
_JUDGED = 0.8

Measured = Sequence[Mapping[Arm, Latencies]]
_Runs = tuple[tuple[Network, tuple[float, ...]], ...]
_RUNS: _Runs = (("sleep", LEVELS), ("bert", (_JUDGED,)))
_QUICK_RUNS: _Runs = (("sleep", (_JUDGED,)),)


def measure(*, quick: bool) -> Ratio:
    """p95 latency at 0.8 of the peak: the engine in a Serve replica / @serve.batch with the forward in a thread.

    Both get the same forward (50 ms and 1 ms for each item), the same bound of 32 items, and the same Poisson arrivals,
    sent from inside the replica so that the cost of a call, which is the same for both, does not hide the difference.
    ``details`` also hold the other two ways to use @serve.batch, and p50 and p95 of every arm at 0.5, 0.8 and 0.95 of
    the peak (``sleep.0.95.fixed_wait.p95_ms``), all arms in each round, and a small BERT on one thread; an item
    that is not answered 2 s after the last arrival counts with its age then, which flatters the slow. A quick run has
    what is judged alone.
    """
    return cluster.apart(_measure, quick=quick)


def _measure(quick: bool) -> Ratio:
    rounds, seconds = (3, 2.0) if quick else (5, 4.0)
    with cluster.private():
        from ray import serve

        from benchmarks.ratios.batching import MAX_ITEMS, WAIT_S, Replica

        replica = serve.run(Replica.bind(), route_prefix=None)
        details: dict[str, str | float | int] = {
            "seconds": seconds,
            "max_batch": MAX_ITEMS,
            "wait_ms": 1000 * WAIT_S,
            "ray": version("ray"),
        }
        measured: dict[tuple[Network, float], Kept[Mapping[Arm, Latencies]]] = {}
        for network, levels in _QUICK_RUNS if quick else _RUNS:
            peak = replica.peak.remote(network).result()
            details[f"{network}.peak_items_per_s"] = round(peak, 1)
            for level in levels:
                measured[network, level] = kept(
                    lambda number, network=network, rate=level * peak: _round(replica, network, rate, seconds, number),
                    rounds=rounds,
                )
                details |= described(f"{network}.{level}", measured[network, level].rounds)
                details[f"{network}.{level}.stolen"] = max(measured[network, level].stolen)
    judged = measured["sleep", _JUDGED]
    return Ratio(
        name="late_binding",
        ours="batches formed when the accelerator is free",
        peer="@serve.batch, fixed wait, forward in a thread",
        unit="ms, p95 at 0.8 of peak",
        rounds=Rounds(
            ours=tuple(arms["late_binding"].p95_ms for arms in judged.rounds),
            peer=tuple(arms["fixed_wait"].p95_ms for arms in judged.rounds),
            stolen=judged.stolen,
            left_out=judged.left_out,
        ),
        bar=1.0,
        aim=0.7,
        direction="at_most",
        details=details,
    )


def _round(
    replica: DeploymentHandle, network: Network, rate: float, seconds: float, number: int
) -> Mapping[Arm, Latencies]:
    """Every arm once under the same arrivals; who begins changes from round to round."""
    load = Load(rate=rate, seconds=seconds, seed=number)
    turn: list[Arm] = [*ARMS[number % len(ARMS) :], *ARMS[: number % len(ARMS)]]
    measured: dict[Arm, Latencies] = {}
    for arm in turn:
        measured[arm] = replica.drive.remote(arm, network, load).result()
    return measured


def described(load: str, rounds: Measured) -> dict[str, str | float | int]:
    """The medians over the rounds of everything that was measured under one load."""
    described: dict[str, str | float | int] = {}
    for arm in rounds[0]:
        runs = [arms[arm] for arms in rounds]
        described[f"{load}.{arm}.p50_ms"] = round(statistics.median(run.p50_ms for run in runs), 1)
        described[f"{load}.{arm}.p95_ms"] = round(statistics.median(run.p95_ms for run in runs), 1)
        described[f"{load}.{arm}.mean_batch"] = round(statistics.median(run.mean_batch for run in runs), 1)
        described[f"{load}.{arm}.late"] = sum(run.late for run in runs)
    p95_ms = {arm: statistics.median(arms[arm].p95_ms for arms in rounds) for arm in rounds[0]}
    best = min(ms for arm, ms in p95_ms.items() if arm != "late_binding")
    described[f"{load}.p95_to_best_setting_of_peer"] = round(p95_ms["late_binding"] / best, 2)
    described[f"{load}.items_per_run"] = rounds[0]["late_binding"].items
    return described
