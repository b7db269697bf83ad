"""Cuts inputs of unequal length into passes of a network that pad little."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class PassLimits:
    """How large a pass may be and what another one costs.

    Attributes:
        most_tokens: the longest input of a pass times their number stays below; one input always fits.
        pass_tokens: what a pass costs beyond its tokens, expressed in tokens. Padding is accepted up to it.
        multiple: lengths are rounded up to it.
        lengths: what lengths are rounded up to instead, smallest first, as far as they go.
    """

    most_tokens: int
    pass_tokens: int
    multiple: int = 1
    lengths: tuple[int, ...] = ()

    def padded(self, length: int) -> int:
        for longer in self.lengths:
            if longer >= length:
                return longer
        return -(-length // self.multiple) * self.multiple


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """Which inputs run together, and the length that each is padded to."""

    indices: tuple[int, ...]
    length: int

    @property
    def tokens(self) -> int:
        return self.length * len(self.indices)


def cut(lengths: Sequence[int], limits: PassLimits) -> list[Pass]:
    """Passes that hold every input once, the longest first; neighbours in length run together.

    A pass ends where it would grow too large, or where padding the next input to its length, and those after the next
    as far as they are padded already, costs more than a pass of its own.
    """
    passes = list[Pass]()
    indices, length, padding = list[int](), 0, 0
    for index in np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable").tolist():
        wasted = padding + length - lengths[index]
        is_full = length * (len(indices) + 1) > limits.most_tokens
        if indices and (is_full or wasted > limits.pass_tokens):
            passes.append(Pass(indices=tuple(indices), length=length))
            indices, wasted = [], 0
        if not indices:
            length = limits.padded(lengths[index])
            wasted = length - lengths[index]
        indices.append(index)
        padding = wasted
    return [*passes, Pass(indices=tuple(indices), length=length)] if indices else passes
