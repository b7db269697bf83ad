"""Says how much of the processor time that programs here wanted went to other guests of the same host."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_STAT = Path("/proc/stat")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_IDLE, _WAITING, _STOLEN = 3, 4, 7  # in the line "cpu user nice system idle iowait irq softirq steal guest guest_nice"
_COUNTED = 8  # a guest's time is in user and nice already


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorTime:
    """Seconds of all cores together since the machine started: what ran, and what a hypervisor took instead."""

    used_s: float
    stolen_s: float


def now(stat: Path = _STAT) -> ProcessorTime:
    """As the Linux kernel counts; where it does not count, nothing is ever stolen."""
    if not stat.exists():
        return ProcessorTime(used_s=0.0, stolen_s=0.0)
    ticks = [int(word) for word in stat.read_text().partition("\n")[0].split()[1 : 1 + _COUNTED]]
    used = sum(ticks) - ticks[_IDLE] - ticks[_WAITING] - ticks[_STOLEN]
    return ProcessorTime(used_s=used / _TICKS_PER_S, stolen_s=ticks[_STOLEN] / _TICKS_PER_S)


def share(before: ProcessorTime, after: ProcessorTime) -> float:
    """What was stolen of the processor time that was wanted between two moments, 0 to 1."""
    stolen_s = after.stolen_s - before.stolen_s
    wanted_s = after.used_s - before.used_s + stolen_s
    return stolen_s / wanted_s if wanted_s > 0.0 else 0.0
