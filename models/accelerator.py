"""Names the device that a model runs on, and how much memory it has."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.card import ModelCard, torch_device

_GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """A device: ``name`` tells it apart from others, its size included."""

    kind: Literal["cuda", "cpu"]
    name: str
    memory_bytes: int


def accelerator_of(card: ModelCard) -> Accelerator:
    """Where the card's model runs on this machine.

    Raises:
        ModelError: the card asks for CUDA and there is none.
    """
    return _cuda() if _is_on_cuda(card) else _cpu()


def _is_on_cuda(card: ModelCard) -> bool:
    """Speech stays on the CPU where CTranslate2 lacks its libraries (models/cuda_libraries.py)."""
    from models import cuda_libraries

    if torch_device(card) == "cpu":
        return False
    return card.adapter != "faster_whisper" or card.device == "cuda" or not cuda_libraries.missing()


def _cuda() -> Accelerator:
    import torch

    device = torch.cuda.get_device_properties(0)
    return Accelerator(
        kind="cuda", name=f"{device.name}, {device.total_memory / _GIB:.0f} GiB", memory_bytes=device.total_memory
    )


def _cpu() -> Accelerator:
    size = _memory_bytes()
    return Accelerator(kind="cpu", name=f"{_cpu_name()}, {size / _GIB:.0f} GiB", memory_bytes=size)


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _memory_bytes() -> int:
    """The machine's memory, or what its container may have of it."""
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(size, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no such file, or "max"
        return size
