"""Counts what a network computes for an item."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from models.adapter import Adapter
from models.card import ModelCard


def gflop_per_item(card: ModelCard, adapter: Adapter[Any, Any], samples: Sequence[Any], *, tiny: bool) -> float | None:
    """The mean of the samples, counted; a text's is that of its tokens, padding left out."""
    if card.task == "speech":
        return None if tiny else whisper_encoder_gflop(card)
    from torch.utils.flop_counter import FlopCounterMode

    counted = samples[:1] if tiny else samples
    with _by_hand(adapter), FlopCounterMode(display=False) as counter:
        for sample in counted:
            adapter.forward([sample])
    return counter.get_total_flops() / len(counted) / 1e9


def whisper_encoder_gflop(card: ModelCard) -> float:
    """The encoder's multiplications and additions for one window of 30 s; decoding comes on top and is not counted."""
    from models.networks.whisper import LARGE_V3_TURBO

    sizes: dict[str, Any] = LARGE_V3_TURBO | card.architecture
    width, positions = sizes["d_model"], sizes["max_source_positions"]
    of_weights = 2 * positions * (4 * width**2 + 2 * width * sizes["encoder_ffn_dim"])
    of_attention = 4 * positions**2 * width
    return sizes["encoder_layers"] * (of_weights + of_attention) / 1e9


@contextmanager
def _by_hand(adapter: Adapter[Any, Any]) -> Iterator[None]:
    """A segmenter's attention as its authors wrote it: the fused one computes more than the network asks for."""
    network = getattr(adapter, "_network", None)
    modules = (
        [] if network is None else [module for module in network.modules() if "Attention" in type(module).__name__]
    )
    replaced = {module: module.__dict__.pop("forward") for module in modules if "forward" in module.__dict__}
    try:
        yield
    finally:
        for module, forward in replaced.items():
            module.forward = forward
