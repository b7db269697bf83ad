"""Lays a report out for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from benchmarks.scenarios.compare import Change, Comparison
from benchmarks.scenarios.report import Point, Report, Spread
from benchmarks.scenarios.target import Work

_BAR = 24
_MOST_ROWS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A figure with its heading; ``scale`` brings it into the heading's unit."""

    heading: str
    figure: str
    scale: float = 1.0


_RATE = Column(heading="items/s", figure="items_per_s")
_GOOD = Column(heading="good\nitems/s", figure="goodput_per_s")
_IN_TIME = Column(heading="in time\n%", figure="in_time", scale=100.0)
_P50 = Column(heading="p50\nms", figure="latency_p50_s", scale=1e3)
_P90 = Column(heading="p90\nms", figure="latency_p90_s", scale=1e3)
_P95 = Column(heading="p95\nms", figure="latency_p95_s", scale=1e3)


def rendered(report: Report) -> RenderableType:
    """The whole report: figures, batches, stages, and what it was measured on."""
    parts: list[RenderableType] = [Text(report.title, style="bold"), _figures(report)]
    if report.scenario != "single-stream":
        for model in models_of(report):
            parts += [Text(f"Share of items by batch size: {model}", style="bold"), _batches(report, model)]
    if (stages := _stages(report)).row_count:
        parts += [Text("Busy time by stage, ms an item, all threads together", style="bold"), stages]
    return Group(*parts, _caption(report))


def _figures(report: Report) -> Table:
    columns = _columns(report)
    table = _table()
    if named := any(point.name for point in report.points):
        table.add_column(_condition(report), no_wrap=True)
    for column in columns:
        table.add_column(column.heading, justify="right", no_wrap=True)
    lost = {
        "shed": [point.shed for point in report.points],
        "failed": [sum(point.failed.values()) for point in report.points],
    }
    lost = {heading: counts for heading, counts in lost.items() if any(counts)}
    for heading in lost:
        table.add_column(heading, justify="right", no_wrap=True)
    if report.setup.price_per_hour is not None:
        table.add_column("cost of\n1,000", justify="right", no_wrap=True)
    for index, point in enumerate(report.points):
        cells = [Text(point.name)] if named else []
        cells += [_spread(point.spread(column.figure), column.scale) for column in columns]
        cells += [Text(f"{counts[index]:,}") for counts in lost.values()]
        if report.setup.price_per_hour is not None:
            cells.append(_cost(point.cost_per_1000(report.setup.price_per_hour)))
        table.add_row(*cells)
    return table


def _columns(report: Report) -> list[Column]:
    timed = [_GOOD, _IN_TIME] if report.setup.deadline_s is not None else []
    match report.scenario:
        case "single-stream":
            return [_RATE, _P50, _P90, _P95, *timed]
        case "server":
            return [_RATE, _P50, _P95, *timed]
        case "offline":
            return [_RATE, *timed]


def _condition(report: Report) -> str:
    return "load" if report.scenario == "server" else "batch limit"


def _spread(spread: Spread | None, scale: float) -> Text:
    """The median of the repetitions, and below it the lowest and the highest."""
    if spread is None:
        return Text("–")
    show = _shower(spread.high * scale)
    text = Text(show(spread.median * scale), style="bold")
    return text.append(f"\n{show(spread.low * scale)}–{show(spread.high * scale)}", style="not bold dim")


def _shower(value: float) -> Callable[[float], str]:
    """About three digits, and as many decimals for a figure as for its range."""
    decimals = 0 if value >= 100 else 1 if value >= 10 else 2
    return lambda number: f"{number:.{decimals}f}"


def _cost(cost: float | None) -> Text:
    return Text("–" if cost is None else f"{cost:.4f}" if cost < 1 else f"{cost:.2f}")


def _batches(report: Report, model: str) -> Table:
    """The share of items in batches of each size under each condition, and the mean size."""
    work = [point.work[model] for point in report.points]
    table = _table()
    table.add_column("batch size", justify="right", no_wrap=True)
    for point in report.points:
        table.add_column(point.name or "share of items", justify="right" if point.name else "left", no_wrap=True)
    for name, shares in size_shares([one.batch_sizes for one in work]):
        table.add_row(name, *(_share(share, with_bar=len(work) == 1) for share in shares))
    table.add_section()
    table.add_row("mean", *(f"{one.mean_batch:.1f}" for one in work))
    if any((one.padding_efficiency or 1.0) < 1.0 for one in work):
        table.add_row("not padding", *(f"{one.padding_efficiency or 1.0:.0%}" for one in work))
    return table


def _share(share: float, *, with_bar: bool) -> str:
    return f"{'█' * round(share * _BAR):<{_BAR}} {share:4.0%}" if with_bar else f"{share:.0%}"


def models_of(report: Report) -> list[str]:
    """The models that told what they did."""
    return list(dict.fromkeys(model for point in report.points for model in point.work))


def size_shares(batch_sizes: Sequence[Mapping[int, int]]) -> list[tuple[str, list[float]]]:
    """The share of items by batch size, in doubling ranges where there are many sizes: (name, share of each)."""
    sizes = sorted({size for counts in batch_sizes for size in counts})
    ranges = dict[tuple[int, int], list[int]]()
    for size in sizes:
        first = 1 << (size.bit_length() - 1)
        ranges.setdefault((size, size) if len(sizes) <= _MOST_ROWS else (first, 2 * first - 1), []).append(size)
    items = [max(sum(size * count for size, count in counts.items()), 1) for counts in batch_sizes]
    return [
        (
            str(first) if first == last else f"{first}–{last}",
            [sum(size * counts.get(size, 0) for size in own) / n for counts, n in zip(batch_sizes, items, strict=True)],
        )
        for (first, last), own in ranges.items()
    ]


def _stages(report: Report) -> Table:
    table = _table()
    named = [_condition(report)] if any(point.name for point in report.points) else []
    for heading in (*named, "model"):
        table.add_column(heading, no_wrap=True)
    for heading in ("prepare", "forward", "read", "forward busy\n% of the time"):
        table.add_column(heading, justify="right", no_wrap=True)
    for point in report.points:
        for model, work in point.work.items():
            if work.busy_s:
                table.add_row(*[point.name] * len(named), model, *_busy(point, work))
    return table


def _busy(point: Point, work: Work) -> list[str]:
    stages = [
        f"{1000 * work.busy_s.get(stage, 0.0) / max(work.items, 1):.2f}" for stage in ("prepare", "forward", "read")
    ]
    return [*stages, f"{100 * work.busy_s.get('forward', 0.0) / point.duration_s:.0f}"]


def _caption(report: Report) -> Text:
    machine, setup = report.machine, report.setup
    text = Text(style="dim")
    text.append("Median of the repetitions, lowest–highest below. Latency counts from when an item was due.\n")
    text.append(f"{report.hardware}, {machine.memory_gib:.0f} GiB")
    text.append(f" · load average {machine.load_average_1min:.1f} → {report.load_average_at_end:.1f}\n")
    text.append(f"{report.sample_size} after {2 * setup.warm_up_items} of warming up · {report.inputs.what}")
    text.append(
        f" ({report.inputs.files} files, {report.inputs.mean_bytes / 1000:.1f} kB on average, no two sent equal)"
    )
    if report.peak_items_per_s is not None:
        text.append(f"\npeak before the loads: {report.peak_items_per_s:.1f} items/s")
    if setup.deadline_s is not None:
        text.append(f"\nin time: within {setup.deadline_s:g} s; good items are those")
    for point in report.points:
        if point.latency_p99_s is not None and report.scenario != "offline":
            at = f" at {point.name}" if point.name else ""
            text.append(f"\np99{at}: {1e3 * point.latency_p99_s:.1f} ms, over all {point.queries:,} queries")
    libraries = ", ".join(f"{name} {number}" for name, number in machine.libraries.items())
    text.append(f"\nPython {machine.python}, {libraries}")
    lost = Counter(_failures(report)) + Counter({"shed": sum(point.shed for point in report.points)})
    items = sum(point.queries for point in report.points)
    text.append(f"\n{items:,} items, ")
    text.append(", ".join(f"{count:,} × {code}" for code, count in lost.items()) or "none failed, none shed")
    for note in report.notes:
        text.append(f"\n• {note}", style="not dim")
    return text


def _failures(report: Report) -> dict[str, int]:
    codes = {code for point in report.points for code in point.failed}
    return {code: sum(point.failed.get(code, 0) for point in report.points) for code in codes}


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))


def compared(comparison: Comparison, *, names: tuple[str, str]) -> RenderableType:
    """What changed from one report to the other."""
    table = _table()
    table.add_column("figure", no_wrap=True)
    for heading in ("before", "after", "change", "95 % interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict")
    for condition, changes in groupby(comparison.changes, key=lambda change: change.condition):
        if condition:
            table.add_row(Text(f"at {condition}", style="bold"))
        for change in changes:
            table.add_row(change.figure, *_change_cells(change))
    notes = [f"before: {names[0]}", f"after: {names[1]}"]
    notes += [f"• forced, though the reports differ in {what}" for what in comparison.differs]
    notes += [f"• version: {what}" for what in comparison.versions]
    notes.append(
        "The interval is exact for the repetitions inside each report (Mann-Whitney). What changes from one start of "
        "the program to the next, or with the machine's load, is not in it: measure each side twice to see that."
    )
    return Group(table, Text("\n".join(notes), style="dim"))


def _change_cells(change: Change) -> list[Text]:
    scale, unit = (1e3, " ms") if "latency" in change.figure else (1.0, "")
    show = _shower(max(change.before, change.after) * scale)
    styles = {"better": "bold green", "worse": "bold red", "no difference beyond noise": "dim"}
    interval = change.interval
    return [
        Text(show(change.before * scale) + unit),
        Text(show(change.after * scale) + unit),
        Text("–" if interval is None else f"{interval.factor - 1:+.1%}"),
        Text("–" if interval is None else f"{interval.low - 1:+.1%} to {interval.high - 1:+.1%}"),
        Text(change.verdict, style=styles.get(change.verdict, "yellow")),
    ]
