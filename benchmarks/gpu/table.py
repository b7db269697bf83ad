"""Shows a report to a person."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import TYPE_CHECKING

from benchmarks.gpu.report import BatchSpeed, GpuReport, ModelReport

if TYPE_CHECKING:
    from rich.console import Group


def table(report: GpuReport) -> Group:
    """The report as a person reads it."""
    from rich.console import Group
    from rich.table import Table

    ceiling = ", ".join(f"{name} {value:.3g}" for name, value in report.ceiling_tflops.items())
    grid = Table("model", "precision", "batch", "items/s", "× batch 1", "MFU", "peak MiB")
    grid.title, grid.title_justify = f"{report.device}; one large matrix product, TFLOP/s: {ceiling}", "left"
    for model in report.models.values():
        for row in _rows(model):
            grid.add_row(*row)
        grid.add_section()
    lines = [f"{model.model}: {line}" for model in report.models.values() for line in _summary(model)]
    left_out = [f"left out: {part}: {reason}" for part, reason in report.skipped.items()]
    return Group(grid, report.engine_alone, *lines, *left_out)


def _rows(model: ModelReport) -> Iterator[tuple[str, ...]]:
    alone = {speed.precision: speed.items_per_s for speed in model.speeds[::-1] if speed.batch_size == 1}
    for speed in model.speeds:
        yield (
            model.model,
            _way(speed),
            str(speed.batch_size),
            f"{speed.items_per_s:.1f}",
            f"{speed.items_per_s / alone[speed.precision]:.2f}" if speed.precision in alone else "",
            "" if speed.mfu is None else f"{speed.mfu:.0%}",
            "" if speed.peak_mib is None else f"{speed.peak_mib:.0f}",
        )


def _way(speed: BatchSpeed) -> str:
    ways = (speed.precision, "compiled" if speed.is_compiled else "", "graphs" if speed.has_graphs else "")
    return " ".join(filter(None, ways))


def _summary(model: ModelReport) -> Iterator[str]:
    if engine := model.engine:
        yield (
            f"engine {statistics.median(engine.engine_items_per_s):.1f} items/s, {engine.engine_over_loop:.2f} × loop, "
            f"{engine.engine_over_forward:.2f} × forward alone, forward busy {engine.forward_share:.0%}"
        )
    if decoder := model.decoder:
        yield (
            f"engine {statistics.median(decoder.on_device_items_per_s):.1f} items/s with JPEGs decoded on the device, "
            f"{decoder.on_device_over_threads:.2f} × decoded by {decoder.cpu_threads} threads"
        )
    for drift in model.drifts:
        yield f"{drift.what}: scores move by p99 {drift.p99:.2g}, largest {drift.largest:.2g} of {drift.scores} scores"
