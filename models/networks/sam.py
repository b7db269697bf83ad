"""Builds Segment Anything networks of any size, with random weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from pydantic import ConfigDict
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer


@dataclass(frozen=True, slots=True, kw_only=True)
class SamSizes:
    """The sizes of a SAM network; a weights folder's config.json holds them under the same names."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    image_px: int = 1024
    patch_px: int = 16
    encoder_width: int = 768
    encoder_depth: int = 12
    encoder_heads: int = 12
    global_attention: tuple[int, ...] = (2, 5, 8, 11)
    window: int = 14
    prompt_width: int = 256
    mask_prompt_channels: int = 16
    decoder_depth: int = 2
    decoder_heads: int = 8
    decoder_mlp_width: int = 2048
    iou_head_width: int = 256


VARIANTS = {
    "vit_b": SamSizes(),
    "vit_l": SamSizes(encoder_width=1024, encoder_depth=24, encoder_heads=16, global_attention=(5, 11, 17, 23)),
    "vit_h": SamSizes(encoder_width=1280, encoder_depth=32, encoder_heads=16, global_attention=(7, 15, 23, 31)),
}


def build_network(sizes: SamSizes) -> Sam:
    """A SAM of the given sizes with random weights; the layout of segment_anything/build_sam.py."""
    side = sizes.image_px // sizes.patch_px
    return Sam(
        image_encoder=ImageEncoderViT(
            img_size=sizes.image_px,
            patch_size=sizes.patch_px,
            embed_dim=sizes.encoder_width,
            depth=sizes.encoder_depth,
            num_heads=sizes.encoder_heads,
            global_attn_indexes=sizes.global_attention,
            window_size=sizes.window,
            out_chans=sizes.prompt_width,
            use_rel_pos=True,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),  # pyright: ignore[reportArgumentType]
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=sizes.prompt_width,
            image_embedding_size=(side, side),
            input_image_size=(sizes.image_px, sizes.image_px),
            mask_in_chans=sizes.mask_prompt_channels,
        ),
        mask_decoder=MaskDecoder(
            transformer_dim=sizes.prompt_width,
            transformer=TwoWayTransformer(
                depth=sizes.decoder_depth,
                embedding_dim=sizes.prompt_width,
                num_heads=sizes.decoder_heads,
                mlp_dim=sizes.decoder_mlp_width,
            ),
            iou_head_hidden_dim=sizes.iou_head_width,
        ),
    )
