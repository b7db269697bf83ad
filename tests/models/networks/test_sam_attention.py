"""Checks that fused attention gives Segment Anything the numbers that its authors' own code gives."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from segment_anything.modeling import Sam, image_encoder

from models.networks import sam_attention
from models.networks.sam import SamSizes, build_network
from models.networks.sam_attention import attend_with_bias, attend_with_wider_heads, fuse_attention

SIZES = SamSizes(
    image_px=160,
    encoder_width=32,
    encoder_depth=2,
    encoder_heads=2,
    global_attention=(1,),
    window=6,
    prompt_width=32,
    decoder_heads=2,
    decoder_mlp_width=32,
)


def a_network() -> Sam:
    """With positions that weigh as much as contents; fresh ones are zero."""
    torch.manual_seed(0)
    network = build_network(SIZES).eval()
    for module in network.modules():
        if isinstance(module, image_encoder.Attention):
            torch.nn.init.normal_(module.rel_pos_h)
            torch.nn.init.normal_(module.rel_pos_w)
    return network


@torch.inference_mode()
def test_a_fused_encoder_gives_the_same_embedding() -> None:
    network, image = a_network(), torch.randn(2, 3, 160, 160)
    fused = deepcopy(network)

    fuse_attention(fused)

    torch.testing.assert_close(fused.image_encoder(image), network.image_encoder(image), rtol=0.0, atol=1e-5)


@pytest.mark.parametrize("attend", [attend_with_bias, attend_with_wider_heads])
@torch.inference_mode()
def test_both_ways_to_add_positions_are_the_authors_own(attend: Callable[..., torch.Tensor]) -> None:
    block = image_encoder.Attention(16, 2, use_rel_pos=True, input_size=(5, 7))
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    patches = torch.randn(3, 5, 7, 16)
    q, k, v = block.qkv(patches).view(3, 35, 3, 2, 8).permute(2, 0, 3, 1, 4).unbind(0)

    attended = attend(q, k, v, sam_attention._Positions(block))

    wanted = block(patches)
    torch.testing.assert_close(
        block.proj(attended.transpose(1, 2).reshape(3, 5, 7, 16)),
        wanted,
        rtol=0.0,
        atol=1e-5 * float(wanted.abs().max()),
    )


@torch.inference_mode()
def test_a_fused_decoder_gives_the_same_masks() -> None:
    network = a_network()
    fused = deepcopy(network)
    fuse_attention(fused)
    boxes = torch.tensor([[10.0, 10.0, 90.0, 80.0], [30.0, 5.0, 150.0, 140.0]])

    answers = list[tuple[torch.Tensor, torch.Tensor]]()
    for own in (fused, network):
        sparse, dense = own.prompt_encoder(points=None, boxes=boxes, masks=None)
        positions = own.prompt_encoder.get_dense_pe()
        torch.manual_seed(1)
        answers.append(own.mask_decoder(torch.randn(1, 32, 10, 10), positions, sparse, dense, multimask_output=True))

    torch.testing.assert_close(*answers, rtol=0.0, atol=1e-5)
