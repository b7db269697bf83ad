"""Decodes prompts of several images in one pass of a Segment Anything mask decoder."""

from __future__ import annotations

import torch
from segment_anything.modeling import MaskDecoder


def decode(
    decoder: MaskDecoder,
    embeddings: torch.Tensor,
    *,
    positions: torch.Tensor,
    sparse: torch.Tensor,
    dense: torch.Tensor,
    is_ambiguous: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Masks of n prompts, each of an image of its own.

    segment_anything's ``MaskDecoder.predict_masks`` takes prompts of one image only; the arithmetic is the same.

    Args:
        decoder: the network's mask decoder.
        embeddings: (n, C, h, w), for each prompt its image's.
        positions: (1, C, h, w), of the places in any image.
        sparse: (n, T, C) and dense: (n, C, h, w), from the prompt encoder.
        is_ambiguous: whether to answer with three masks for each prompt, of a part and of wholes, instead of one.

    Returns:
        Logits (n, m, 4h, 4w) and predicted IoUs (n, m); m is 3 or 1.
    """
    count = len(sparse)
    own_tokens = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([own_tokens.expand(count, -1, -1), sparse], dim=1)
    answered, source = decoder.transformer(embeddings + dense, positions.expand(count, -1, -1, -1), tokens)
    upscaled = decoder.output_upscaling(source.transpose(1, 2).reshape(embeddings.shape))  # (n, C / 8, 4h, 4w)
    wanted = range(1, decoder.num_mask_tokens) if is_ambiguous else range(1)
    kernels = [decoder.output_hypernetworks_mlps[index](answered[:, 1 + index]) for index in wanted]
    logits = torch.einsum("nmc,nchw->nmhw", torch.stack(kernels, dim=1), upscaled)
    return logits, decoder.iou_prediction_head(answered[:, 0])[:, wanted.start : wanted.stop]
