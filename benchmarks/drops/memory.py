"""Measures whether a long job grows: the memory of all its processes, from a fifth of the run to its end."""

from __future__ import annotations

import statistics
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import processes
from benchmarks.drops.command import Annotated, annotate
from benchmarks.drops.work import a_folder, texts
from benchmarks.processes import Usage
from benchmarks.ratio import Ratio, Rounds

_EVERY_S = 1.0
_MIB = 2**20
_EARLY, _LATE = (0.20, 0.25), (0.95, 1.0)  # of the items; several samples, as memory goes up and down with each batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What all processes took up when a share of the items was done; None once all outcomes were stored."""

    share: float | None
    usage: Usage


def measure(*, quick: bool) -> Ratio:
    """Memory at the end of 200,000 short texts by that at a fifth of them; the model is as quick as a stub.

    It is what the command and its children and PostgreSQL with all its backends have in memory together. Pages that
    several of them share, such as the database's buffers, count once, and so do libraries, whoever else has them loaded
    (processes.Usage.own_bytes). There is one round: what other guests of the host take is time, not memory.
    """
    return compare(items=20_000 if quick else 200_000, every_s=_EVERY_S)


def compare(*, items: int, every_s: float) -> Ratio:
    """The ratio of MiB, by a sample every so many seconds."""
    with a_folder() as folder:
        work = texts(folder, items)
        with watching(folder, every_s) as usages:
            annotated = annotate(work, "run")
        samples = list(placed(usages, annotated, items=items))
    early, late = (between(samples, *bounds) for bounds in (_EARLY, _LATE))
    return Ratio(
        name="memory",
        ours="memory at the end of a job",
        peer="memory at a fifth of it",
        unit="MiB",
        rounds=Rounds(ours=(_mib(late, _own),), peer=(_mib(early, _own),)),
        bar=1.10,
        aim=1.05,
        direction="at_most",
        details={"items": items, "items_per_s": round(annotated.items_per_s, 1)} | told(samples, early, late),
    )


def placed(usages: Sequence[Usage], annotated: Annotated, *, items: int) -> Iterator[Sample]:
    """The usages from the run's first item on, with how far it was by the last event before each."""
    started = next(event for event in annotated.events if event.name == "started")
    stored_s = started.at_s + annotated.labelling_s
    told = [event for event in annotated.events if event.name in ("started", "progress")]
    times = [event.at_s for event in told]
    for usage in usages:
        if usage.at_s > stored_s:
            yield Sample(share=None, usage=usage)
        elif known := bisect_right(times, usage.at_s):
            yield Sample(share=told[known - 1].finished / items, usage=usage)


def between(samples: Sequence[Sample], least: float, most: float) -> list[Usage]:
    """What was taken up while the share of items that were done lay between two bounds.

    Raises:
        RuntimeError: nobody looked then; the run was too short.
    """
    usages = [sample.usage for sample in samples if sample.share is not None and least <= sample.share <= most]
    if not usages:
        raise RuntimeError(f"no sample between {least:.0%} and {most:.0%} of the run; give it more items")
    return usages


def told(samples: Sequence[Sample], early: Sequence[Usage], late: Sequence[Usage]) -> dict[str, str | float]:
    """The other figures: resident memory (RSS), by process, the most of all, and while the output was written."""
    labelling = [sample.usage for sample in samples if sample.share is not None]
    writing = [sample.usage for sample in samples if sample.share is None]
    tenths = [[s.usage for s in samples if s.share is not None and n / 10 <= s.share < (n + 1) / 10] for n in range(10)]
    return {
        "memory": "resident, shared pages once",
        "samples": len(labelling),
        "by_tenth_mib": ", ".join(f"{_mib(tenth, _own):.0f}" if tenth else "?" for tenth in tenths),
        "rss_early_mib": round(_mib(early, _rss), 1),
        "rss_late_mib": round(_mib(late, _rss), 1),
        "most_while_labelling_mib": round(max(map(_own, labelling)) / _MIB, 1),
        "most_while_writing_mib": round(max(map(_own, writing), default=0) / _MIB, 1),
        "writing_s": round(writing[-1].at_s - writing[0].at_s, 1) if writing else 0.0,
    } | {
        f"{name}_mib": f"{_mib_of(early, name):.0f} to {_mib_of(late, name):.0f}"
        for name in sorted({name for usage in late for name in usage.own_bytes})
    }


def _own(usage: Usage) -> int:
    return sum(usage.own_bytes.values())


def _rss(usage: Usage) -> int:
    return usage.resident_bytes


def _mib(usages: Sequence[Usage], size: Callable[[Usage], int]) -> float:
    return statistics.median(map(size, usages)) / _MIB


def _mib_of(usages: Sequence[Usage], name: str) -> float:
    return _mib(usages, lambda usage: usage.own_bytes.get(name, 0))


@contextmanager
def watching(folder: Path, every_s: float) -> Iterator[list[Usage]]:
    """Look every so many seconds at the processes that are named after a folder, as long as the context lasts."""
    usages, is_over = list[Usage](), threading.Event()

    def look() -> None:
        while not is_over.wait(every_s):
            usages.append(processes.usage(processes.named_after(folder)))

    watching = threading.Thread(target=look)
    watching.start()
    try:
        yield usages
    finally:
        is_over.set()
        watching.join()
