"""Applies the arithmetic that a card asks for to a torch network."""

from __future__ import annotations

import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from models.card import ModelCard
from models.errors import ModelError

_switched = threading.Lock()


def half_dtype(card: ModelCard, *, device: str) -> torch.dtype | None:
    """The half precision of the card's forward pass; None for fp32, which it always is on a CPU.

    Raises:
        ModelError: the card asks for int8, which no torch family here has.
    """
    if card.precision == "int8":
        raise ModelError(
            "bad_card", f"model '{card.name}' asks for int8; family {card.adapter} has fp32, bf16 and fp16"
        )
    if device == "cpu" or card.precision == "fp32":
        return None
    return torch.bfloat16 if card.precision == "bf16" else torch.float16


def compute_in(dtype: torch.dtype | None, part: nn.Module, *, device: str) -> None:
    """Let one part of a network compute in half precision from now on; its weights and its outputs stay fp32.

    The part is a backbone or an encoder, where the work is. The rest of a detector computes positions: in bf16 they
    can only be multiples of 8 beyond 1,024 pixels. Convolutions compute with the channels last, as matrix units want
    them in half precision; what comes out has the usual order again.
    """
    if dtype is None:
        return
    for module in part.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    forward = part.forward

    def forward_in_half(*inputs: Any, **named: Any) -> Any:
        with torch.autocast(device, dtype=dtype):
            output = forward(*inputs, **named)
        return _in_fp32(output)

    part.forward = forward_in_half


def _in_fp32(output: Any) -> Any:
    """Every floating-point tensor of a module's output as fp32, in the same containers."""
    match output:
        case torch.Tensor():
            if not output.is_floating_point():
                return output
            return output.to(torch.float32, memory_format=torch.contiguous_format)
        case list():
            return [_in_fp32(entry) for entry in output]
        case tuple():
            return tuple(_in_fp32(entry) for entry in output)
        case MutableMapping():
            for name in list(output):
                output[name] = _in_fp32(output[name])
            return output
        case _:
            return output


@contextmanager
def tensor_cores(card: ModelCard) -> Iterator[None]:
    """Around a forward pass: whether CUDA may round fp32 factors to TF32 (10 bits of mantissa, as fp16).

    It may not for a card in fp32, whose scores must not depend on which kernel a batch size selects; torch's own
    default lets convolutions. The mode is the whole process's, so one model at a time computes in it. Changes nothing
    where CUDA is not used.
    """
    if not torch.cuda.is_initialized():
        yield
        return
    with _switched:
        yield from _with_mode(card)


def _with_mode(card: ModelCard) -> Iterator[None]:
    allowed = "ieee" if card.precision == "fp32" else "tf32"
    convolutions: Any = torch.backends.cudnn.conv  # pyright: ignore[reportAttributeAccessIssue]
    products = torch.backends.cuda.matmul
    before = convolutions.fp32_precision, products.fp32_precision
    convolutions.fp32_precision = products.fp32_precision = allowed
    try:
        yield
    finally:
        convolutions.fp32_precision, products.fp32_precision = before
