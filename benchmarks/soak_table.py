"""Lays an overload's figures out for the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text


def tables(figures: dict[str, Any]) -> list[RenderableType]:
    """What the items came to, which processes took what, and the rest in words."""
    return [_outcomes(figures["items"]["outcomes"]), _processes(figures), _notes(figures)]


def _outcomes(outcomes: dict[str, dict[str, int]]) -> Table:
    grid = Table(title="what items came to", title_justify="left")
    grid.add_column("outcome", no_wrap=True)
    for kind in outcomes:
        grid.add_column(kind, justify="right")
    for outcome in sorted({outcome for counts in outcomes.values() for outcome in counts}):
        grid.add_row(outcome, *(str(counts.get(outcome, 0)) for counts in outcomes.values()))
    return grid


def _processes(figures: dict[str, Any]) -> Table:
    grid = Table(title="processes", title_justify="left")
    grid.add_column("program", no_wrap=True)
    for column in ("MiB, second fifth", "MiB, last fifth", "busy cores"):
        grid.add_column(column, justify="right")
    for name, fifths in figures["memory"]["by_process_mib"].items():
        second, last = ("not known" if fifths[n] is None else str(fifths[n]) for n in (1, -1))
        grid.add_row(name, second, last, str(figures["busy_cores"].get(name, "ended")))
    return grid


def _notes(figures: dict[str, Any]) -> Text:
    items, latency_ms = figures["items"], figures["latency_ms"]
    return Text(
        f"offered {figures['offered_per_s']}/s for {figures['seconds']:g} s; the peak was {figures['peak_per_s']}/s\n"
        f"good {figures['good_per_s']}/s, of {figures['good_at_peak_per_s']}/s at the peak; "
        f"by fifths of the run {items['good_by_fifth']}\n"
        f"latency of a 200 from when it was due: p50 {latency_ms['p50']} ms, p99 {latency_ms['p99']} ms\n"
        f"the gateway itself answered /livez within {figures['gateway_ms']['p50']} ms (p50), "
        f"{figures['gateway_ms']['p99']} ms (p99)\n"
        f"refusals came after {items['shed_ms']['p50_ms']} ms (p50), {items['shed_ms']['p99_ms']} ms (p99)\n"
        f"the sender was {items['lateness']['p99_ms']} ms late (p99); a request waited {items['waits']['p99_ms']} ms "
        f"(p99) for one of {figures['connections']} connections, {items['not_sent']} for longer than the deadline",
        style="dim",
    )
