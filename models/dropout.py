"""Draws dropout masks from a seed of its own, so that a network's passes with dropout can be repeated exactly."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch


class SeededDropout(torch.nn.Module):
    """Stands in for torch.nn.Dropout: does nothing until it is given a generator, whatever the network's mode.

    torch's own draws from one generator for the whole process, which the engines of all models there share.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.generator: torch.Generator | None = None

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        if self.generator is None:
            return numbers
        # Drawn in main memory: the same seed then drops the same numbers on every device.
        is_kept = torch.rand(numbers.shape, generator=self.generator) >= self.p
        return numbers * is_kept.to(numbers.device, numbers.dtype) / (1.0 - self.p)


def seed_dropout(network: torch.nn.Module) -> tuple[SeededDropout, ...]:
    """Put seeded ones in place of all dropout layers that drop something.

    Networks of transformers apply dropout to their attention's weights by a function and only in training; that part
    stays off.
    """
    found = list[SeededDropout]()
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, torch.nn.Dropout) and 0.0 < child.p < 1.0:
                found.append(SeededDropout(child.p))
                setattr(parent, name, found[-1])
    return tuple(found)


@contextmanager
def dropping(layers: Sequence[SeededDropout], *, seed: int) -> Iterator[None]:
    """Within it the layers drop, in the order in which the network calls them, by one generator."""
    generator = torch.Generator().manual_seed(seed)
    for layer in layers:
        layer.generator = generator
    try:
        yield
    finally:
        for layer in layers:
            layer.generator = None


def seed_of(numbers: np.ndarray) -> int:
    """A seed that depends on the numbers alone."""
    return int.from_bytes(hashlib.sha256(np.ascontiguousarray(numbers).tobytes()).digest()[:7], "big")
