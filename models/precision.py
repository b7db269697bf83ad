"""Applies the arithmetic that a card asks for to a torch forward pass."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from models.card import ModelCard
from models.errors import ModelError


def arithmetic(card: ModelCard, *, device: str) -> AbstractContextManager[object]:
    """A fresh context for one forward pass: automatic mixed precision on CUDA, fp32 on a CPU.

    The weights stay in fp32, because detectors compute positions that half precision would move by pixels.

    Raises:
        ModelError: the card asks for int8, which torch's mixed precision does not offer.
    """
    if card.precision == "int8":
        raise ModelError(
            "bad_card", f"model '{card.name}' asks for int8; family {card.adapter} has fp32, bf16 and fp16"
        )
    if device == "cpu" or card.precision == "fp32":
        return nullcontext()
    return torch.autocast(device, dtype=torch.bfloat16 if card.precision == "bf16" else torch.float16)
