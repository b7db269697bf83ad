"""Lays out reliability diagrams and risk–coverage curves in the units of an SVG."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipelines.calibration.reliability import Bin, reliability
from pipelines.calibration.report.judged import Compared
from pipelines.calibration.risk_coverage import RiskCoverage, risk_coverage

Side = Literal["before", "after"]

# The plot's edges, and the strip of counts below it, as page.html.jinja frames them.
LEFT, RIGHT, TOP, BOTTOM = 42.0, 312.0, 12.0, 204.0
STRIP_TOP, STRIP_BOTTOM = 232.0, 268.0
CHART_BINS = 10
_BAR_GAP = 3.0
_FIRST_ACCEPTED = 20  # a share of fewer items jumps about and says nothing
_MOST_POINTS = 240


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A bin's place in the plot, its interval from ``y_low`` up to ``y_high``, and its bar of counts."""

    x: float
    y: float
    y_low: float
    y_high: float
    bar_x: float
    bar_y: float
    bar_width: float
    bar_height: float
    bin: Bin


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagram:
    """A reliability diagram before and after; ``most`` is the n of the highest bar."""

    dots: dict[Side, tuple[Dot, ...]]
    lines: dict[Side, str]
    most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Risk–coverage curves before and after; ``top`` is the risk at the upper edge."""

    lines: dict[Side, str]
    areas: dict[Side, float]
    top: float
    first_accepted: int


def diagram(compared: Compared) -> Diagram:
    """Ten bins of equal width, each with its Wilson interval."""
    before, after = (
        reliability(p, compared.is_right, bins=CHART_BINS, weights=compared.weights)
        for p in (compared.before, compared.after)
    )
    most = max(found.n for found in (*before, *after))
    dots: dict[Side, tuple[Dot, ...]] = {
        "before": tuple(_dot(found, most, is_second=False) for found in before),
        "after": tuple(_dot(found, most, is_second=True) for found in after),
    }
    return Diagram(
        dots=dots,
        lines={side: _line([(dot.x, dot.y) for dot in of_side]) for side, of_side in dots.items()},
        most=most,
    )


def curves(compared: Compared) -> Curves:
    """From twenty accepted on, or from one where there are fewer than forty."""
    before, after = (
        risk_coverage(p, compared.is_right, weights=compared.weights) for p in (compared.before, compared.after)
    )
    first = _FIRST_ACCEPTED if compared.n >= 2 * _FIRST_ACCEPTED else 1
    top = _round_up(max(float(curve.risk[first - 1 :].max()) for curve in (before, after)))
    return Curves(
        lines={"before": _curve(before, first, top), "after": _curve(after, first, top)},
        areas={"before": before.area, "after": after.area},
        top=top,
        first_accepted=first,
    )


def x_of(value: float) -> float:
    return round(LEFT + value * (RIGHT - LEFT), 2)


def y_of(value: float) -> float:
    return round(BOTTOM - value * (BOTTOM - TOP), 2)


def _dot(found: Bin, most: int, *, is_second: bool) -> Dot:
    width = (RIGHT - LEFT) / CHART_BINS
    bar = (width - _BAR_GAP) / 2.0
    height = max((STRIP_BOTTOM - STRIP_TOP) * found.n / most, 1.0)
    return Dot(
        x=x_of(found.mean),
        y=y_of(found.right),
        y_low=y_of(found.right_low),
        y_high=y_of(found.right_high),
        bar_x=round(x_of(found.low) + _BAR_GAP / 2.0 + (bar if is_second else 0.0), 2),
        bar_y=round(STRIP_BOTTOM - height, 2),
        bar_width=round(bar, 2),
        bar_height=round(height, 2),
        bin=found,
    )


def _curve(curve: RiskCoverage, first: int, top: float) -> str:
    n = len(curve.risk)
    shown = np.unique(np.linspace(first - 1, n - 1, min(_MOST_POINTS, n - first + 1)).astype(np.int64)).tolist()
    return _line([(x_of(float(curve.coverage[i])), y_of(float(curve.risk[i]) / top)) for i in shown])


def _line(points: list[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)


def _round_up(value: float) -> float:
    """The next of 1, 2, 5 times a power of ten, at most 1; 0.01 for nothing at all."""
    if value <= 0.01:
        return 0.01
    power = 10.0 ** math.floor(math.log10(value))
    return min(next(power * step for step in (1, 2, 5, 10) if value <= power * step * (1 + 1e-9)), 1.0)
