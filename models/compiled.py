"""Compiles the part of a network where the work is, for a card whose options ask for it."""

from __future__ import annotations

from typing import Any

from torch import nn

from models.adapter import Adapter
from models.types import Payload

_MOST_COPIES = 3  # kernels are built for one, for two, and then for any number


def compile_part(part: nn.Module, *, backend: str = "inductor", is_any_shape: bool = False) -> None:
    """Let torch.compile build kernels for a part of a network, when it first meets a shape.

    Args:
        part: is changed in place; the names of its weights stay.
        backend: one of torch.compile's. "inductor" needs triton on CUDA and a C++ compiler on a CPU.
        is_any_shape: whether every size varies (texts); else only the number of items does, once it has been seen to.
    """
    part.compile(backend=backend, dynamic=True if is_any_shape else None)


def warm_up(adapter: Adapter[Any, Any], payload: Payload) -> None:
    """Have kernels built before the first item comes: building takes a minute or two, which nobody shall wait for."""
    [sample] = adapter.prepare([payload])
    for count in range(1, _MOST_COPIES + 1):
        adapter.forward([sample] * count)
