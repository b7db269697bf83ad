"""Says how much memory a model has in use, and how much at most while something runs."""

from __future__ import annotations

import re
import resource
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from models.accelerator import Accelerator
from models.card import ModelCard

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_FORGET_THE_PEAK = "5"  # proc(5), clear_refs
_LOOK_EVERY_S = 0.002
_MOST_CONTEXT_BYTES = 2**30


class Gauge(Protocol):
    """Reads one kind of memory, in bytes."""

    def in_use(self) -> int:
        """What is in use now."""
        ...

    def peak(self, call: Callable[[], object]) -> int:
        """The most that was in use while a call ran, what was in use before among it."""
        ...

    def context_bytes(self) -> int:
        """What the process takes of the device beside that; asked before a model is loaded."""
        ...


def gauge_of(card: ModelCard, accelerator: Accelerator) -> Gauge:
    """How to read the memory of the card's model; nothing else may run in this process, or on its GPU."""
    if accelerator.kind == "cpu":
        return ResidentMemory()
    return DeviceMemory() if card.adapter == "faster_whisper" else TorchMemory()


class ResidentMemory:
    """This process's resident memory.

    The kernel's own mark of this process's image is read: getrusage also counts what the parent had in use when it
    started this process. Where the mark cannot be put back, the peak can only grow.
    """

    def in_use(self) -> int:
        return _status_bytes("VmRSS")

    def peak(self, call: Callable[[], object]) -> int:
        try:
            _CLEAR.write_text(_FORGET_THE_PEAK)
        except OSError:
            call()
            return _status_bytes("VmHWM")
        call()
        return _status_bytes("VmHWM")

    def context_bytes(self) -> int:
        return 0


class TorchMemory:
    """What torch reserves on the device: others cannot have it, and a recorded graph's memory is only seen there."""

    def in_use(self) -> int:
        import torch

        torch.cuda.empty_cache()
        return torch.cuda.memory_reserved()

    def peak(self, call: Callable[[], object]) -> int:
        import torch

        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_reserved()

    def context_bytes(self) -> int:
        """CUDA's own share: what is in use now, or 1 GiB where others use the device, too."""
        return min(DeviceMemory().in_use(), _MOST_CONTEXT_BYTES)


class DeviceMemory:
    """What the whole device has in use, for libraries that do not say what they allocate; seen every 2 ms."""

    def in_use(self) -> int:
        import torch

        free, total = torch.cuda.mem_get_info()
        return total - free

    def peak(self, call: Callable[[], object]) -> int:
        seen, is_over = [self.in_use()], threading.Event()

        def look() -> None:
            while not is_over.wait(_LOOK_EVERY_S):
                seen.append(self.in_use())

        watcher = threading.Thread(target=look, daemon=True)
        watcher.start()
        try:
            call()
        finally:
            is_over.set()
            watcher.join()
        return max(*seen, self.in_use())

    def context_bytes(self) -> int:
        return 0  # in_use counts it


def _status_bytes(field: str) -> int:
    try:
        found = re.search(rf"^{field}:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE)
    except OSError:
        found = None
    return 1024 * int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
