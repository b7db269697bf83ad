"""Checks that outlines are the runs of the masks, and that masks are judged as models/signals/ says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from models import signals
from models.geometry import decode_mask, encode_mask, mask_of_runs
from models.outlines import outlines, runs_of, soft_iou, stability

BITMAPS = arrays(bool, array_shapes(min_dims=3, max_dims=3, max_side=7))


@given(bitmaps=BITMAPS)
def test_runs_stand_for_their_bitmaps(bitmaps: np.ndarray) -> None:
    runs = runs_of(torch.from_numpy(bitmaps))

    assert len(runs) == len(bitmaps)
    for bitmap, lengths in zip(bitmaps, runs, strict=True):
        height, width = bitmap.shape
        mask = mask_of_runs(lengths, size_hw=(height, width))
        assert mask == encode_mask(bitmap)
        assert (decode_mask(mask) == bitmap).all()


@given(logits=arrays(np.float32, (3, 5, 4), elements=st.floats(-60, 60, width=32)))
def test_masks_are_judged_as_the_formulas_say(logits: np.ndarray) -> None:
    tensor = torch.from_numpy(logits)

    assert stability(tensor).tolist() == pytest.approx(signals.stability(logits).tolist())
    assert soft_iou(tensor).tolist() == pytest.approx(signals.soft_iou(logits).tolist())


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_an_outline_is_empty_where_no_logit_is_above_zero(sign: float) -> None:
    logits = torch.full((1, 4, 4), sign)

    [outline] = outlines(logits, side_px=8, content_hw=(8, 6), size_hw=(30, 20), shown=logits)

    assert outline.is_empty == (sign < 0)
    assert outline.run_lengths.sum() == 600


def test_no_masks_have_no_outlines() -> None:
    nothing = torch.zeros((0, 4, 4))

    assert outlines(nothing, side_px=8, content_hw=(8, 6), size_hw=(30, 20), shown=nothing) == ()
