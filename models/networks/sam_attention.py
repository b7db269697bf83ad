"""Lets the attention of a Segment Anything network run in torch's fused kernels, with the same weights and results.

segment_anything 1.0 multiplies queries and keys by hand, so that a global block of ViT-B holds several matrices of
12 × 4096 × 4096 numbers for each image.
"""

from __future__ import annotations

from functools import partial

import torch
from segment_anything.modeling import Sam, image_encoder, transformer
from torch.nn import functional

_ALIGNMENT = 8  # fused kernels on CUDA want head widths in multiples of it


def fuse_attention(network: Sam) -> None:
    """Replace the arithmetic of every attention; weights must be loaded and on their device, and stay as they are."""
    for module in network.modules():
        if isinstance(module, image_encoder.Attention) and module.use_rel_pos:
            module.forward = partial(_encode, module, _Positions(module))
        elif isinstance(module, transformer.Attention):
            module.forward = partial(_decode, module)


class _Positions:
    """A block's relative position embeddings, looked up once: (H, H, C) by row and (W, W, C) by column."""

    def __init__(self, module: image_encoder.Attention) -> None:
        height, width = ((len(table) + 1) // 2 for table in (module.rel_pos_h, module.rel_pos_w))
        with torch.no_grad():
            self.by_row = image_encoder.get_rel_pos(height, height, module.rel_pos_h)
            self.by_column = image_encoder.get_rel_pos(width, width, module.rel_pos_w)
        rows, columns = (torch.eye(side, device=self.by_row.device) for side in (height, width))
        self.of_keys = torch.cat([rows.repeat_interleave(width, 0), columns.repeat(height, 1)], dim=1)  # (HW, H + W)

    def of_queries(self, queries: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What (B, n, HW, C) queries add to the keys of each row, (B, n, HW, H), and column, (B, n, HW, W)."""
        squares = queries.unflatten(2, (len(self.by_row), len(self.by_column)))
        of_rows = torch.einsum("bnhwc,hkc->bnhwk", squares, self.by_row)
        of_columns = torch.einsum("bnhwc,wkc->bnhwk", squares, self.by_column)
        return of_rows.flatten(2, 3), of_columns.flatten(2, 3)


def _encode(module: image_encoder.Attention, positions: _Positions, x: torch.Tensor) -> torch.Tensor:
    """The image encoder's attention over (B, H, W, C) patches."""
    batch, height, width, _ = x.shape
    qkv = module.qkv(x).view(batch, height * width, 3, module.num_heads, -1)
    attend = attend_with_wider_heads if x.is_cuda else attend_with_bias
    q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    attended = attend(q, k, v, positions)  # (B, n, HW, C / n)
    return module.proj(attended.transpose(1, 2).reshape(batch, height, width, -1))


def attend_with_bias(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, positions: _Positions) -> torch.Tensor:
    """Positions as a mask that is added: on a CPU 1.7 to 2.4 times as fast as by hand (2 threads, ViT-B's sizes)."""
    of_rows, of_columns = positions.of_queries(q)
    bias = (of_rows[..., :, None] + of_columns[..., None, :]).flatten(-2)  # (B, n, HW, HW)
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)


def attend_with_wider_heads(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, positions: _Positions) -> torch.Tensor:
    """Positions as more columns of queries and keys: no matrix of queries by keys is ever held.

    A key's further columns are 1 at its row and at its column and 0 elsewhere, so the longer product of a query and a
    key is the sum that the network was trained with.
    """
    wider_q = torch.cat([q * q.shape[-1] ** -0.5, *positions.of_queries(q)], dim=-1)
    wider_k = torch.cat([k, positions.of_keys.to(k.dtype).expand(*k.shape[:2], -1, -1)], dim=-1)
    missing = -wider_q.shape[-1] % _ALIGNMENT
    wider_q, wider_k = (functional.pad(tensor, (0, missing)) for tensor in (wider_q, wider_k))
    return functional.scaled_dot_product_attention(wider_q, wider_k, v, scale=1.0)


def _decode(module: transformer.Attention, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """The mask decoder's attention over (B, T, C) tokens."""
    projected = (module.q_proj(q), module.k_proj(k), module.v_proj(v))
    heads = (tensor.unflatten(-1, (module.num_heads, -1)).transpose(1, 2) for tensor in projected)
    return module.out_proj(functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))
