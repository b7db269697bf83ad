"""Tells what a failed forward pass says about the device: out of memory, lost, or neither."""

from __future__ import annotations

import sys

# What CUDA, cuBLAS and the driver say when a process cannot use its device any more (CUDA Runtime API, cudaError_t:
# "the process must be terminated and relaunched"). torch and CTranslate2 pass the words on.
_LOST = (
    "device-side assert",
    "illegal memory access",
    "illegal instruction",
    "misaligned address",
    "invalid address space",
    "unspecified launch failure",
    "launch timed out",
    "uncorrectable ecc",
    "hardware stack error",
    "device is lost",
    "fallen off the bus",
)
_FULL = ("out of memory", "can't allocate memory", "cublas_status_alloc_failed")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a smaller batch might pass: torch.OutOfMemoryError, MemoryError, or their words in a RuntimeError."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _FULL)
    )


def loss(error: BaseException) -> str | None:
    """Why the device cannot be used any more, or None if it can.

    Known words in the error answer; else CUDA, where this process uses it, is asked to compute: after such an error
    every further call fails.
    """
    if not isinstance(error, RuntimeError) or is_out_of_memory(error):
        return None
    if any(words in str(error).lower() for words in _LOST):
        return _first_line(error)
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    try:
        torch.zeros(1, device="cuda").add_(1).item()
    except RuntimeError as err:
        return None if is_out_of_memory(err) else _first_line(err)
    return None


def release_memory() -> None:
    """Give back what torch keeps of the device's memory for later."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def wait() -> None:
    """Until the device has done what torch has asked it so far."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__
