"""Says on what a number was measured; without it the number does not exist."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

_LIBRARIES = ("ray", "torch", "torchvision", "transformers", "faster-whisper", "ctranslate2", "numpy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Hardware, versions, and how busy the machine was when it was asked."""

    cpu: str
    cores: int
    memory_gib: float
    accelerator: str | None
    python: str
    libraries: dict[str, str]
    load_average_1min: float


def here() -> Machine:
    """This machine, now."""
    import torch

    return Machine(
        cpu=_cpu(),
        cores=os.cpu_count() or 0,
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        accelerator=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        python=platform.python_version(),
        libraries={name: version(name) for name in _LIBRARIES},
        load_average_1min=load_average(),
    )


def load_average() -> float:
    """How many processes wanted a processor, on average over the last minute."""
    return os.getloadavg()[0]


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
