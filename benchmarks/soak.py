"""Overloads the real service for minutes, and judges whether it keeps answering, refuses well and stays in memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks import processes, service, soak_items
from benchmarks.judgement import Judgement, Report
from benchmarks.load import Load, send
from benchmarks.open_loop import Counted, Plan, sending
from benchmarks.processes import Usage
from benchmarks.scenarios.figures import percentile
from benchmarks.soak_table import tables

OVERLOAD = 1.5
DEADLINE_S = 2.0
CONNECTIONS = 512  # twice what a gateway takes by default, so that its limit is met

_DEMO = Path(__file__).parents[1] / "models" / "demo" / "weights"
_MAX_QUEUE = (
    64  # what a model works off well within the deadline; with the demo's 512 the sender's connections are full first
)
_BODIES = 4096
_PATIENCE_S = 30.0
_PEAK_CONNECTIONS, _PEAK_ROUNDS, _PEAK_TRIES, _PEAK_S = 48, 3, 5, 4.0
_PROBES_PER_S = 10.0
_SAMPLES = 150
_LEAST_PAUSE_S = 0.25
_MOST_GROWTH, _MOST_HEALTH_MS, _LEAST_EXCESS = 0.05, 100.0, 0.05
_EXCUSED = ("failed: timeout", "failed: overloaded", "429", "503", "not sent", "unanswered")


@dataclass(frozen=True, slots=True, kw_only=True)
class Soak:
    """What an overload gave: the requests, probes of /healthz and of the gateway itself, the processes meanwhile."""

    peak_per_s: float
    rate_per_s: float
    seconds: float
    items: Counted
    health: Counted
    gateway: Counted
    usages: list[Usage]


def measure(*, minutes: float, progress: Callable[[str], None]) -> Soak:
    """Start the service, find the most it can do, and send 1.5 times that."""
    with service.started(configuration()) as started:
        requests = soak_items.requests(_BODIES, deadline_s=DEADLINE_S)
        peak_per_s = peak(started.address, [body for _, body in requests])
        progress(f"peak {peak_per_s:.0f} requests/s; {OVERLOAD} times that for {minutes:g} minutes …")
        plan = Plan(
            address=started.address,
            path="/v1/prelabel",
            requests=tuple(requests),
            rate_per_s=OVERLOAD * peak_per_s,
            seconds=60 * minutes,
            seed=0,
            connections=CONNECTIONS,
            deadline_s=DEADLINE_S,
            patience_s=_PATIENCE_S,
        )
        return overload(
            plan, peak_per_s=peak_per_s, watch=lambda: processes.usage(processes.named_after(started.folder))
        )


def configuration() -> dict[str, object]:
    """Two of the demo models behind HAProxy, each with a queue that the deadline leaves time for."""
    cards = [_card(_DEMO / name / "card.yaml") for name in ("ner", "detection")]
    thresholds = {"accept_score": 0.8, "accept_no_miss": 0.7, "accept_nothing_found": 0.9}
    return {
        "models": cards,
        "tasks": {card["task"]: [card["name"]] for card in cards},
        "policies": {card["task"]: {"queue": card["task"], **thresholds} for card in cards},
        "server": {"ingress": "haproxy"},
    }


def _card(file: Path) -> dict[str, Any]:
    card = yaml.safe_load(file.read_text(encoding="utf-8"))
    return {**card, "weights": str(file.parent), "limits": {**card["limits"], "max_queue": _MAX_QUEUE}}


def peak(address: str, bodies: Sequence[str]) -> float:
    """Requests per second in a closed loop of 48 connections: the best of three rounds, after one to warm up.

    Noise only takes away, and 1.5 times too low a peak would be no overload. A round in which the service refused a
    call, because somebody else had the machine, is no peak and is measured again.

    Raises:
        RuntimeError: calls were refused in so many rounds that there is no peak.
    """
    load = Load(
        address=address,
        path="/v1/prelabel",
        connections=_PEAK_CONNECTIONS,
        bodies=tuple(bodies),
        seconds=_PEAK_S,
    )
    rates, refusal = list[float](), None
    for number in range(1 + _PEAK_TRIES * _PEAK_ROUNDS):
        try:
            rate = send(load).per_s
        except RuntimeError as err:
            refusal = err
            continue
        rates += [rate] if number else []
        if len(rates) == _PEAK_ROUNDS:
            return max(rates)
    raise RuntimeError(f"only {len(rates)} of {_PEAK_ROUNDS} rounds went without a refusal: {refusal}") from refusal


def overload(plan: Plan, *, peak_per_s: float, watch: Callable[[], Usage]) -> Soak:
    """Send a plan while two more processes ask /healthz and /livez ten times a second, and watch the service."""
    usages = list[Usage]()
    pause_s = max(_LEAST_PAUSE_S, plan.seconds / _SAMPLES)
    health, gateway = (sending(_probe(plan, path)) for path in ("/healthz", "/livez"))
    with health as probing, gateway as probing_gateway, sending(plan) as requesting:
        end_s = time.monotonic() + plan.seconds
        while not requesting.is_done:
            if time.monotonic() < end_s:
                usages.append(watch())
            time.sleep(pause_s)
        return Soak(
            peak_per_s=peak_per_s,
            rate_per_s=plan.rate_per_s,
            seconds=plan.seconds,
            items=requesting.counted(),
            health=probing.counted(),
            gateway=probing_gateway.counted(),
            usages=usages,
        )


def _probe(plan: Plan, path: str) -> Plan:
    return Plan(
        address=plan.address,
        path=path,
        rate_per_s=_PROBES_PER_S,
        seconds=plan.seconds,
        connections=1,
        deadline_s=plan.seconds + _PATIENCE_S,  # every probe is sent, however late, and tells how late
        patience_s=_PATIENCE_S,
    )


def judge(soak: Soak) -> list[Judgement]:
    """Whether the service was overloaded at all, and what must hold while it is."""
    items = soak.items
    excess = 1 - sum(_answered(items).values()) / items.scheduled
    return [
        Judgement(what="offered and not labelled", value=excess, bar=_LEAST_EXCESS, direction="at_least"),
        Judgement(what="5xx that are no refusals", value=items.server_errors, bar=0, direction="at_most"),
        Judgement(what="refusals without Retry-After", value=items.shed_bluntly, bar=0, direction="at_most"),
        Judgement(what="sent and not answered", value=sum(items.unanswered.values()), bar=0, direction="at_most"),
        Judgement(what="wrong outcomes", value=sum(wrong(items).values()), bar=0, direction="at_most"),
        Judgement(what="growth of memory", value=growth(_totals(soak.usages)), bar=_MOST_GROWTH, direction="below"),
        Judgement(
            what="/healthz p99", value=health_ms(soak.health, 99), bar=_MOST_HEALTH_MS, direction="below", unit="ms"
        ),
    ]


def _answered(items: Counted) -> dict[str, int]:
    """By kind, the items that got what they should."""
    return {
        kind: sum(n for outcome, n in counts.items() if outcome in soak_items.WANTED.get(kind, ()))
        for kind, counts in items.outcomes.items()
    }


def wrong(items: Counted) -> dict[str, int]:
    """Items that came to something which is neither what they should nor what an overload excuses."""
    return {
        f"{kind}: {outcome}": n
        for kind, counts in items.outcomes.items()
        for outcome, n in counts.items()
        if outcome not in soak_items.WANTED.get(kind, ()) and not outcome.startswith(_EXCUSED)
    }


def growth(values: Sequence[float]) -> float | None:
    """How much larger the median of the last fifth is than that of the second; the first is warming up.

    None where there are too few values for fifths.
    """
    fifth = len(values) // 5
    if not fifth:
        return None
    return statistics.median(values[-fifth:]) / statistics.median(values[fifth : 2 * fifth]) - 1


def health_ms(health: Counted, q: float) -> float:
    """A percentile of the probes' latencies; a probe that got no 200 counts as the longest wait there can be."""
    failed = health.scheduled - len(health.latencies_ms)
    return percentile([*health.latencies_ms, *[1e3 * _PATIENCE_S] * failed], q) or 0.0


def _totals(usages: Sequence[Usage]) -> list[int]:
    return [usage.total_bytes for usage in usages]


def report(soak: Soak) -> Report:
    """What is judged, with all figures and their tables."""
    content = figures(soak)
    return Report(judgements=judge(soak), figures=content, tables=tables(content))


def figures(soak: Soak) -> dict[str, Any]:
    """All figures, ready for ``json.dumps``."""
    items = asdict(soak.items)
    latencies_ms = items.pop("latencies_ms")
    return {
        "peak_per_s": round(soak.peak_per_s, 1),
        "offered_per_s": round(soak.rate_per_s, 1),
        "seconds": soak.seconds,
        "deadline_s": DEADLINE_S,
        "connections": CONNECTIONS,
        "max_queue": _MAX_QUEUE,
        "good_per_s": round(soak.items.good / soak.seconds, 1),
        "good_at_peak_per_s": round(soak_items.GOOD_SHARE * soak.peak_per_s, 1),
        "latency_ms": {f"p{q}": percentile(latencies_ms, q) for q in (50, 95, 99)},
        "items": items,
        "wrong": wrong(soak.items),
        "healthz_ms": {f"p{q}": health_ms(soak.health, q) for q in (50, 99)},
        "gateway_ms": {f"p{q}": health_ms(soak.gateway, q) for q in (50, 99)},
        "healthz_statuses": soak.health.statuses,
        "healthz_unanswered": soak.health.unanswered,
        "memory": _memory(soak.usages),
        "busy_cores": _busy_cores(soak.usages),
        "open_files": [usage.open_files for usage in soak.usages],
    }


def _memory(usages: Sequence[Usage]) -> dict[str, Any]:
    start_s = usages[0].at_s if usages else 0.0
    names = sorted({name for usage in usages for name in usage.memory_bytes})
    return {
        "seconds": [round(usage.at_s - start_s, 1) for usage in usages],
        "mib": [round(usage.total_bytes / 2**20, 1) for usage in usages],
        "by_process_mib": {name: _fifths_mib([usage.memory_bytes.get(name, 0) for usage in usages]) for name in names},
    }


def _busy_cores(usages: Sequence[Usage]) -> dict[str, float]:
    """Processors that each program kept busy, on average."""
    if not usages:
        return {}
    first, last = usages[0], usages[-1]
    seconds = max(last.at_s - first.at_s, 1e-9)
    return {name: round((spent - first.cpu_s.get(name, 0.0)) / seconds, 2) for name, spent in last.cpu_s.items()}


def _fifths_mib(values: Sequence[int]) -> list[float | None]:
    """The median of each fifth of the run, in MiB; None where there are too few values for fifths."""
    fifth = len(values) // 5
    if not fifth:
        return [None] * 5
    parts = [values[n * fifth : (n + 1) * fifth] for n in range(5)]
    return [round(statistics.median(part) / 2**20, 1) for part in parts]
