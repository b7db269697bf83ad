"""Says what changed between two reports beyond the spread of their repetitions."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

from benchmarks.scenarios.report import Point, Report
from models.errors import PrelabelError

Verdict = Literal["better", "worse", "no difference beyond noise", "too few repetitions", "cannot be compared"]

_MISS = 0.05
_SAME_RATE = 0.01
# The name of each figure of a slice, and whether more of it is better.
_FIGURES = {
    "items_per_s": ("items/s", True),
    "latency_p50_s": ("p50 latency", False),
    "latency_p90_s": ("p90 latency", False),
    "latency_p95_s": ("p95 latency", False),
    "goodput_per_s": ("goodput/s", True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A relative change, as a factor of what was before, and the 95 % interval around it."""

    factor: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One figure under one condition, before and after (medians of the repetitions)."""

    condition: str
    figure: str
    before: float
    after: float
    interval: Interval | None
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All changes; ``differs`` names what was compared by force though it differs, ``versions`` what was upgraded."""

    changes: tuple[Change, ...]
    differs: tuple[str, ...]
    versions: tuple[str, ...]


def compare(before: Report, after: Report, *, margin: float, force: bool = False) -> Comparison:
    """Compare two reports of the same measurement, condition by condition.

    Args:
        before: the report that changes are relative to.
        after: the other one.
        margin: a change is called one only if it is certain beyond the noise and at least this large (0.02 is 2 %).
        force: compare though hardware, model, scenario or inputs differ.

    Raises:
        PrelabelError: not_comparable, naming each field that differs, or with no condition in common.
    """
    differs = tuple(_differences(before, after))
    if differs and not force:
        raise PrelabelError("not_comparable", f"the reports differ in {'; '.join(differs)}; --force compares anyway")
    pairs = list(_pairs(before, after))
    if not pairs:
        wanted = " ".join(f"--rate {point.rate_per_s:.4g}" for point in before.points if point.rate_per_s is not None)
        advice = f"measure the second with {wanted}" if wanted else "measure both with the same --batch-limit"
        raise PrelabelError("not_comparable", f"the reports have no load or batch limit in common; {advice}")
    changes = [change for one, other in pairs for change in _changes(before, one, other, margin=margin)]
    return Comparison(changes=tuple(changes), differs=differs, versions=tuple(_versions(before, after)))


def _differences(before: Report, after: Report) -> Iterator[str]:
    """What must be the same, or else the numbers mean different things."""
    fields = {
        "scenario": (before.scenario, after.scenario),
        "target": (before.target, after.target),
        "task": (before.task, after.task),
        "models": (_models(before), _models(after)),
        "inputs": (before.inputs.digest[:12], after.inputs.digest[:12]),
        "deadline_s": (before.setup.deadline_s, after.setup.deadline_s),
        "at_once": (before.setup.at_once, after.setup.at_once),
        "compute_threads": (before.setup.compute_threads, after.setup.compute_threads),
        "cpu": (before.machine.cpu, after.machine.cpu),
        "cores": (before.machine.cores, after.machine.cores),
        "accelerator": (before.machine.accelerator, after.machine.accelerator),
    }
    for name, (one, other) in fields.items():
        if one != other:
            yield f"{name}: {one} and {other}"


def _models(report: Report) -> str:
    return " → ".join(
        f"{model.name}@{model.version} ({model.precision}, weights {model.weights_digest[:12]}, "
        f"config {model.config_digest[:8]})"
        for model in report.models
    )


def _versions(before: Report, after: Report) -> Iterator[str]:
    """What may differ, because it is what one compares: Python and the libraries."""
    one, other = ({"python": report.machine.python} | report.machine.libraries for report in (before, after))
    for name in one.keys() | other.keys():
        if one.get(name) != other.get(name):
            yield f"{name} {one.get(name)} → {other.get(name)}"


def _pairs(before: Report, after: Report) -> Iterator[tuple[Point, Point]]:
    """Points of the same batch limit and, within 1 %, of the same load."""
    for one, other in product(before.points, after.points):
        rates = (one.rate_per_s or 1.0, other.rate_per_s or 1.0)
        if one.batch_limit == other.batch_limit and abs(rates[0] / rates[1] - 1) <= _SAME_RATE:
            yield one, other


def _changes(report: Report, one: Point, other: Point, *, margin: float) -> Iterator[Change]:
    for figure, (name, more_is_better) in _FIGURES.items():
        if report.scenario == "offline" and "latency" in figure:
            continue
        values, others = _values(one, figure), _values(other, figure)
        if values and others:
            yield _change(one.name, name, values, others, more_is_better=more_is_better, margin=margin)


def _values(point: Point, figure: str) -> list[float]:
    return [value for part in point.slices if (value := getattr(part, figure)) is not None]


def _change(
    condition: str,
    figure: str,
    before: Sequence[float],
    after: Sequence[float],
    *,
    more_is_better: bool,
    margin: float,
) -> Change:
    medians = statistics.median(before), statistics.median(after)
    interval = change_interval(before, after) if min(*before, *after) > 0 else None
    if interval is not None:
        verdict = _verdict(interval, more_is_better=more_is_better, margin=margin)
    elif sorted(before) == sorted(after):
        verdict = "no difference beyond noise"
    else:
        verdict = "too few repetitions" if min(*before, *after) > 0 else "cannot be compared"
    return Change(
        condition=condition, figure=figure, before=medians[0], after=medians[1], interval=interval, verdict=verdict
    )


def _verdict(interval: Interval, *, more_is_better: bool, margin: float) -> Verdict:
    is_noise = interval.low <= 1.0 <= interval.high
    if is_noise or abs(interval.factor - 1.0) < margin:
        return "no difference beyond noise"
    return "better" if (interval.factor > 1.0) == more_is_better else "worse"


def change_interval(before: Sequence[float], after: Sequence[float]) -> Interval | None:
    """By which factor the second sample is larger, with a distribution-free interval of at least 95 %.

    The factor is the median of all ratios of a value after to a value before (Hodges and Lehmann 1963, on logarithms);
    the interval lies between those ratios that the exact Mann-Whitney test would not reject (Hollander and Wolfe 1999,
    §4.3). It needs four values on each side, or three and five.

    Args:
        before: positive values, one a repetition.
        after: the same of the other report.

    Returns:
        None where there are too few values for such an interval.
    """
    ratios = sorted(math.log(other / one) for one, other in product(before, after))
    cut = _critical_rank(len(before), len(after))
    if cut is None:
        return None
    middle, low, high = statistics.median(ratios), ratios[cut], ratios[-1 - cut]
    return Interval(factor=math.exp(middle), low=math.exp(low), high=math.exp(high))


def _critical_rank(m: int, n: int) -> int | None:
    """The largest u with P(U ≤ u) ≤ 2.5 % under no difference; None where even u = 0 is likelier."""
    counts, total, tail = _u_counts(m, n), math.comb(m + n, m), 0
    for u, count in enumerate(counts):
        tail += count
        if tail / total > _MISS / 2:
            return u - 1 if u else None
    return None


def _u_counts(m: int, n: int) -> list[int]:
    """In how many of the orders of m and n values the Mann-Whitney statistic is 0, 1, … m n.

    These are the coefficients of the Gaussian binomial: a product of (1 - q^(n + i)) / (1 - q^i), i = 1 … m.
    """
    counts = [1] + [0] * (m * n)
    for i in range(1, m + 1):
        for u in range(m * n, n + i - 1, -1):
            counts[u] -= counts[u - n - i]
        for u in range(i, m * n + 1):
            counts[u] += counts[u - i]
    return counts
