"""Holds the latencies of health and setup against their bars, if the service was busy at all."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from benchmarks.judgement import Judgement, Report
from benchmarks.label_studio.latency import PATIENCE_S, PRE_LABEL_ITEMS, PREDICT_TASKS, PROBES_PER_S, Latency, Look
from benchmarks.load import Answers
from benchmarks.open_loop import Counted
from benchmarks.scenarios.figures import percentile

HEALTH_MS, SETUP_MS = 100.0, 500.0  # p99
_LEAST_WITH_ITEMS = 0.9
# Of the two that the bars are about. The others are the proxy's, the database's, the senders' and Label Studio's.
_LEAST_USED_CORES, _LEAST_BUSY_CORES = 1.8, 1.0


def report(latency: Latency) -> Report:
    """What is judged, with all figures and their tables."""
    found = figures(latency)
    return Report(judgements=judge(latency), figures=found, tables=[_probes(found), _notes(found)])


def judge(latency: Latency) -> list[Judgement]:
    """Whether the probes were answered in time, and the service was as busy as it can be."""
    return [
        Judgement(
            what="health p99",
            value=percentile(waits_ms(latency.health), 99),
            bar=HEALTH_MS,
            direction="below",
            unit="ms",
        ),
        Judgement(
            what="setup p99", value=percentile(waits_ms(latency.setup), 99), bar=SETUP_MS, direction="below", unit="ms"
        ),
        Judgement(
            what="looks at which the model had items",
            value=share_with_items(latency.looks),
            bar=_LEAST_WITH_ITEMS,
            direction="at_least",
        ),
        Judgement(
            what="cores that all programs kept busy",
            value=used_cores(latency.looks),
            bar=_LEAST_USED_CORES,
            direction="at_least",
        ),
        Judgement(
            what="cores that gateway and model kept busy",
            value=_sum_of(busy_cores(latency.looks), ("gateway", "model")),
            bar=_LEAST_BUSY_CORES,
            direction="at_least",
        ),
        Judgement(
            what="times Label Studio found the backend gone",
            value=latency.connected.count(False),
            bar=0,
            direction="at_most",
        ),
    ]


def waits_ms(probes: Counted) -> list[float]:
    """How long probes took, from when each was due; one that got no 200 counts as the longest wait there can be."""
    failed = probes.scheduled - len(probes.latencies_ms)
    return [*probes.latencies_ms, *[1e3 * PATIENCE_S] * failed]


def share_with_items(looks: tuple[Look, ...]) -> float | None:
    """How many looks found items in the model, of all."""
    return sum(look.in_flight > 0 for look in looks) / len(looks) if looks else None


def used_cores(looks: tuple[Look, ...]) -> float | None:
    """Processors that any program kept busy, or another guest of the same host took, on average."""
    if len(looks) < 2:
        return None
    first, last = looks[0], looks[-1]
    return (last.used_s - first.used_s + last.stolen_s - first.stolen_s) / (last.at_s - first.at_s)


def busy_cores(looks: tuple[Look, ...]) -> dict[str, float]:
    """Processors that each program kept busy, on average."""
    if len(looks) < 2:
        return {}
    first, last = looks[0], looks[-1]
    seconds = last.at_s - first.at_s
    return {name: round((spent - first.cpu_s.get(name, 0.0)) / seconds, 2) for name, spent in last.cpu_s.items()}


def _sum_of(cores: dict[str, float], parts: tuple[str, ...]) -> float | None:
    """Of the programs whose names have one of these in them; None where there is none."""
    found = [busy for name, busy in cores.items() if any(part in name.lower() for part in parts)]
    return sum(found) if found else None


def figures(latency: Latency) -> dict[str, Any]:
    """All figures, ready for ``json.dumps``."""
    first, last = latency.looks[0], latency.looks[-1]
    return {
        "label_studio": latency.release,
        "seconds": latency.seconds,
        "warm_up_s": 5.0,
        "ingress": "proxy",
        "probes_per_s": PROBES_PER_S,
        "health": _summary(latency.health),
        "setup": _summary(latency.setup),
        "predict": _load(latency.predict, PREDICT_TASKS),
        "pre_label": _load(latency.pre_label, PRE_LABEL_ITEMS),
        "items_per_s": round((last.items - first.items) / max(last.at_s - first.at_s, 1e-9), 1),
        "in_flight": [look.in_flight for look in latency.looks],
        "waiting": [look.waiting for look in latency.looks],
        "used_cores": round(used_cores(latency.looks) or 0.0, 2),
        "busy_cores": busy_cores(latency.looks),
        "looks_of_label_studio": len(latency.connected),
    }


def _summary(probes: Counted) -> dict[str, Any]:
    waits = waits_ms(probes)
    return {
        "n": probes.scheduled,
        **{f"p{q}_ms": round(percentile(waits, q) or 0.0, 2) for q in (50, 95, 99)},
        "most_ms": max(waits, default=None),
        "statuses": probes.statuses,
        "unanswered": probes.unanswered,
        "sender_late": asdict(probes.lateness),
    }


def _load(answers: Answers, items: int) -> dict[str, Any]:
    return {
        "calls": answers.count,
        "items_per_call": items,
        "items_per_s": round(items * answers.per_s, 1),
        "p50_ms": round(answers.p50_ms, 1),
        "p95_ms": round(answers.p95_ms, 1),
    }


def _probes(found: dict[str, Any]) -> Table:
    title = f"asked for every {1e3 / found['probes_per_s']:g} ms under load, from when it was due"
    grid = Table(title=title, title_justify="left")
    for column in ("", "n", "p50, ms", "p95, ms", "p99, ms", "most, ms"):
        grid.add_column(column, justify="right" if column else "left")
    for name in ("health", "setup"):
        own = found[name]
        grid.add_row(name, *(str(own[key]) for key in ("n", "p50_ms", "p95_ms", "p99_ms", "most_ms")))
    return grid


def _notes(found: dict[str, Any]) -> Text:
    cores = ", ".join(f"{name} {busy}" for name, busy in sorted(found["busy_cores"].items()) if busy >= 0.05)
    lines = [
        f"{what}: {own['items_per_call']} items a call, {own['items_per_s']}/s, p50 {own['p50_ms']} ms"
        for what, own in (("/predict", found["predict"]), ("/v1/prelabel", found["pre_label"]))
    ]
    return Text(
        "\n".join(
            [*lines, f"the model: {found['items_per_s']} items/s; busy cores: {found['used_cores']} in all; {cores}"]
        ),
        style="dim",
    )
