"""Draws a report's plots; needs matplotlib."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from benchmarks.scenarios.report import Point, Report
from benchmarks.scenarios.table import models_of, size_shares

_SIZE_IN, _DPI = (7.2, 4.6), 160
_CAPTION_CHARS = 138
# Lightness falls from one to the next, and so do marker and hatch: the plots read in greyscale too.
_INKS = ("#0b3c5d", "#d1495b", "#8fb8de")
_FILLS = (("#c9dcef", "///"), ("#1f4e79", ""), ("#f0b67f", "..."), ("#ffffff", "xxx"))
_MARKS = ("o-", "s--", "^:")
_RANGES = " Points are medians of the repetitions, bars reach from the lowest to the highest."
_STAGES = ("prepare", "forward", "read")


def draw(report: Report, folder: Path) -> list[Path]:
    """Write the plots that the report has something for; returns their files."""
    return [_saved(report, folder / f"{name}.png", title, plot) for name, title, plot in _plots(report)]


def _plots(report: Report) -> Iterator[tuple[str, str, Callable[[Axes, Report], None]]]:
    if report.scenario == "server" and len(report.points) > 1:
        yield "latency", "Latency against load", _latency
    elif report.scenario == "offline" and len(report.points) > 1:
        yield "throughput", "Throughput against batch limit", _throughput
    else:
        yield "repetitions", "Every repetition", _repetitions
    if report.scenario != "single-stream":
        for model in models_of(report):
            yield f"batches-{model}", "Items by the size of their batch", partial(_batches, model=model)
    if any(work.busy_s for point in report.points for work in point.work.values()):
        yield "stages", "Busy time by stage", _stages


def _saved(report: Report, file: Path, title: str, plot: Callable[[Axes, Report], None]) -> Path:
    has_ranges = plot in (_latency, _throughput)
    caption = textwrap.wrap(_caption(report) + _RANGES * has_ranges, _CAPTION_CHARS)
    bottom = 0.035 * (len(caption) + 1)
    layout = ConstrainedLayoutEngine(rect=(0.01, bottom, 0.98, 0.985 - bottom))
    figure = Figure(figsize=_SIZE_IN, dpi=_DPI, layout=layout)
    axes = figure.add_subplot()
    axes.set_title(f"{title}\n", loc="left", fontsize=13, fontweight="bold")
    axes.text(0, 1.025, _short(report.title, 100), transform=axes.transAxes, fontsize=8.5, color="0.3")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.88", linewidth=0.8)
    axes.set_axisbelow(True)
    plot(axes, report)
    figure.text(0.015, 0.02, "\n".join(caption), fontsize=7.2, color="0.35", va="bottom", linespacing=1.4)
    figure.savefig(file)
    return file


def _caption(report: Report) -> str:
    machine, setup = report.machine, report.setup
    libraries = ", ".join(f"{name} {machine.libraries[name]}" for name in ("torch", "ray") if name in machine.libraries)
    return (
        f"{report.sample_size} after {2 * setup.warm_up_items} of warming up; {report.inputs.what}. "
        f"{report.hardware}; {libraries}; load average {machine.load_average_1min:.1f} to "
        f"{report.load_average_at_end:.1f}; {report.measured_at}."
    )


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _latency(axes: Axes, report: Report) -> None:
    rates = [point.rate_per_s or 0.0 for point in report.points]
    apart = 0.004 * max(rates)  # so that one bar does not hide the other
    for index, (figure, name) in enumerate({"latency_p50_s": "p50", "latency_p95_s": "p95"}.items()):
        places = [rate + (2 * index - 1) * apart for rate in rates]
        _line(axes, places, report.points, figure, scale=1e3, name=name, style=index)
    if report.setup.deadline_s is not None:
        axes.axhline(1e3 * report.setup.deadline_s, color="0.25", linewidth=1, linestyle=(0, (6, 3)), label="deadline")
    if report.peak_items_per_s is not None:
        axes.axvline(report.peak_items_per_s, color="0.5", linewidth=1.2, linestyle=":", label="offline peak")
    axes.set_xlabel("offered load (items/s, Poisson arrivals)")
    axes.set_ylabel("latency from when an item was due (ms)")
    axes.set_xlim(left=0)
    if _is_wide(report):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(ScalarFormatter())
    else:
        axes.set_ylim(bottom=0)
    _legend(axes)


def _legend(axes: Axes) -> None:
    """Above the plot, where it hides nothing."""
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.01, 1.055), ncols=4, fontsize=9, columnspacing=1.2)


def _is_wide(report: Report) -> bool:
    """Whether the latencies span more than a linear axis shows."""
    spreads = [point.spread(name) for point in report.points for name in ("latency_p50_s", "latency_p95_s")]
    known = [spread for spread in spreads if spread]
    return bool(known) and max(spread.high for spread in known) > 20 * min(spread.low for spread in known)


def _throughput(axes: Axes, report: Report) -> None:
    limits = [point.batch_limit or 0 for point in report.points]
    _line(axes, limits, report.points, "items_per_s", scale=1.0, name="items/s", style=0)
    axes.set_xscale("log", base=2)
    axes.set_xticks(limits, [str(limit) for limit in limits])
    axes.minorticks_off()
    axes.set_xlabel("batch limit (items)")
    axes.set_ylabel("throughput (items/s)")
    axes.set_ylim(bottom=0)


def _repetitions(axes: Axes, report: Report) -> None:
    figures = {"latency_p50_s": "p50", "latency_p90_s": "p90", "latency_p95_s": "p95"}
    scale, unit = 1e3, "latency (ms)"
    if report.scenario == "offline":
        figures, scale, unit = {"items_per_s": "items/s"}, 1.0, "throughput (items/s)"
    [point, *_] = report.points
    numbers = range(1, len(point.slices) + 1)
    for index, (figure, name) in enumerate(figures.items()):
        values = [getattr(part, figure) for part in point.slices]
        heights = [float("nan") if value is None else value * scale for value in values]
        axes.plot(numbers, heights, _MARKS[index], color=_INKS[index], label=name)
    axes.set_xlabel("repetition")
    axes.set_ylabel(unit)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(0.5, len(point.slices) + 0.5)
    axes.set_ylim(bottom=0)
    if len(figures) > 1:
        _legend(axes)


def _batches(axes: Axes, report: Report, model: str) -> None:
    """The share of items in batches of each size, a bar for each condition."""
    rows = size_shares([point.work[model].batch_sizes for point in report.points])
    width = 0.8 / len(report.points)
    for index, point in enumerate(report.points):
        places = [row + (index - (len(report.points) - 1) / 2) * width for row in range(len(rows))]
        shares = [100 * of_points[index] for _, of_points in rows]
        fill, hatch = _FILLS[index % len(_FILLS)]
        label = f"{point.name or model}: mean {point.work[model].mean_batch:.1f}"
        axes.bar(places, shares, width=width, color=fill, hatch=hatch, edgecolor="0.2", linewidth=0.5, label=label)
    axes.set_xticks(range(len(rows)), [name for name, _ in rows])
    axes.set_xlabel(f"items in a batch of {model}")
    axes.set_ylabel("share of all items (%)")
    axes.set_yticks(range(0, 101, 20))
    axes.set_ylim(0, 103 + 8 * math.ceil(len(report.points) / 3))  # room for the legend
    axes.legend(frameon=False, loc="upper left", ncols=3, fontsize=9)


def _stages(axes: Axes, report: Report) -> None:
    """Busy milliseconds an item, one bar for each model and condition."""
    rows = [(point, model, work) for point in report.points for model, work in point.work.items() if work.busy_s]
    lefts = [0.0] * len(rows)
    for stage, (fill, hatch) in zip(_STAGES, _FILLS, strict=False):
        widths = [1e3 * work.busy_s.get(stage, 0.0) / max(work.items, 1) for _, _, work in rows]
        axes.barh(
            range(len(rows)), widths, left=lefts, height=0.6, label=stage, color=fill, hatch=hatch, edgecolor="0.2"
        )
        lefts = [left + width for left, width in zip(lefts, widths, strict=True)]
    for row, ((point, _, work), total) in enumerate(zip(rows, lefts, strict=True)):
        busy = work.busy_s.get("forward", 0.0) / point.duration_s
        axes.text(total, row, f"  {total:.3g} ms; forward busy {busy:.0%}", va="center", fontsize=8)
    is_several = len({model for _, model, _ in rows}) > 1
    names = [" ".join([model] * is_several + [point.name]) or model for point, model, _ in rows]
    axes.set_yticks(range(len(rows)), names)
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color="0.88", linewidth=0.8)
    axes.set_xlim(0, 1.45 * max(lefts))
    axes.set_xlabel("busy time of all threads together (ms an item)")
    axes.set_ylim(max(len(rows), 3) - 0.5, -0.5)
    _legend(axes)


def _line(
    axes: Axes, places: Sequence[float], points: Sequence[Point], figure: str, *, scale: float, name: str, style: int
) -> None:
    spreads = [(place, spread) for place, point in zip(places, points, strict=True) if (spread := point.spread(figure))]
    medians = [scale * spread.median for _, spread in spreads]
    below = [scale * (spread.median - spread.low) for _, spread in spreads]
    above = [scale * (spread.high - spread.median) for _, spread in spreads]
    places = [place for place, _ in spreads]
    axes.errorbar(places, medians, yerr=(below, above), fmt=_MARKS[style], color=_INKS[style], capsize=3, label=name)
