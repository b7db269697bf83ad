"""Says what machine and what device this is, and what the device holds."""

from __future__ import annotations

import gc
import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version

_LIBRARIES = (
    "torch",
    "torchvision",
    "transformers",
    "segment-anything",
    "faster-whisper",
    "ctranslate2",
    "ray",
    "numpy",
)


def device_of(wanted: str) -> str:
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted


def device_name(device: str) -> str:
    import torch

    return torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()


def machine() -> dict[str, str | int | float]:
    import torch

    return {
        "cores": os.cpu_count() or 0,
        "load_average_1min": os.getloadavg()[0],
        "python": platform.python_version(),
        "cuda": str(getattr(torch.version, "cuda", None)),
        **{name: _version(name) for name in _LIBRARIES},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def synchronise(device: str) -> None:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def reset_peak() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def memory_mib() -> tuple[float | None, float | None]:
    """What torch allocated at most, and what the whole device holds; None without one."""
    import torch

    if not torch.cuda.is_available():
        return None, None
    free, total = torch.cuda.mem_get_info()
    return torch.cuda.max_memory_allocated() / 2**20, (total - free) / 2**20


def free() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextmanager
def device_busy(device: str) -> Iterator[list[float]]:
    """Shares of time that nvidia-smi saw a kernel run, five times a second; none without it."""
    busy = list[float]()
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-i", "0", "-lms", "200"]
    try:
        if device != "cuda":
            raise FileNotFoundError
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - fixed words
    except FileNotFoundError:
        yield busy
        return
    try:
        yield busy
    finally:
        process.terminate()
        lines = process.communicate()[0].split()
        busy += [float(line) / 100 for line in lines if line.isdigit()]
