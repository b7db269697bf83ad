"""Compiles the part of a network where the work is, for a card whose options ask for it."""

from __future__ import annotations

from torch import nn


def compile_part(part: nn.Module, *, backend: str = "inductor", is_any_shape: bool = False) -> None:
    """Let torch.compile build kernels for a part of a network, when it first meets a shape.

    Args:
        part: is changed in place; the names of its weights stay.
        backend: one of torch.compile's. "inductor" needs triton on CUDA and a C++ compiler on a CPU.
        is_any_shape: whether every size varies (texts); else only the number of items does, once it has been seen to.
    """
    part.compile(backend=backend, dynamic=True if is_any_shape else None)
