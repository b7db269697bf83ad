"""Turns what a network computes on its way into one short vector for each item."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.errors import ItemError
from models.types import Embedding

if TYPE_CHECKING:
    import torch

_LARGEST = float(np.finfo(np.float16).max)


def embedding(model: str, vector: np.ndarray) -> Embedding:
    """A (d,) vector of any floating type as it is kept: float16, little-endian; what float16 cannot hold is cut off.

    Raises:
        ItemError: model_failed: a number is not finite.
    """
    if not np.isfinite(vector).all():
        raise ItemError("model_failed", f"'{model}' gave an embedding that is not finite for this item")
    return Embedding(model=model, data=vector.clip(-_LARGEST, _LARGEST).astype("<f2").tobytes())


def vector_of(embedding: Embedding) -> np.ndarray:
    """(d,) float16, which shares the embedding's memory and cannot be written to."""
    return np.frombuffer(embedding.data, dtype="<f2")


def pooled(features: torch.Tensor | list[torch.Tensor] | tuple[torch.Tensor, ...]) -> np.ndarray:
    """The mean of each channel over all places: (B, d) float32.

    Args:
        features: (B, L, d), or (B, d, h, w), on any device; of several maps the means are joined, d1 + d2 + …
    """
    maps = features if isinstance(features, list | tuple) else [features]
    means = [own.float().mean(dim=1 if own.ndim == 3 else (2, 3)).cpu().numpy() for own in maps]
    return np.concatenate(means, axis=1)
