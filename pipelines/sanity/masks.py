"""Holds the rules about masks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.geometry import run_lengths
from models.types import Mask
from pipelines.sanity.draft import Draft, Row
from pipelines.sanity.pieces import Pieces, pieces

_LONGEST_SIDE_PX = 65_535  # of a JPEG; it bounds what the runs of a mask that no image has can cost


def in_crumbs(draft: Draft) -> None:
    """Masks without a pixel, and masks with pieces too small to be of an object."""
    for row in draft.rows(Mask):
        height, width = row.geometry.size_hw
        runs = run_lengths(row.geometry.counts)
        is_size = 0 < height <= _LONGEST_SIDE_PX and 0 < width <= _LONGEST_SIDE_PX
        if runs is None or not is_size or sum(runs) != height * width:
            message = f"the mask's runs describe no bitmap of {width} × {height} px"
            draft.remove("zero_area", row.place, message)
        elif not any(runs[1::2]):
            draft.remove("zero_area", row.place, "the mask has no pixel")
        elif draft.rules.mask_crumbs != "off":
            _sweep(draft, row, pieces(runs, size_hw=row.geometry.size_hw))


def _sweep(draft: Draft, row: Row[Mask], found: Pieces) -> None:
    rules, areas = draft.rules, found.areas
    is_crumb = (areas < rules.crumb_px) & (areas < rules.crumb_share * areas.max())
    if is_crumb.any():
        count, pixels = np.count_nonzero(is_crumb), areas[is_crumb].sum()
        message = f"{count} of the mask's {len(areas)} pieces are crumbs, of {pixels} px together"
        swept = replace(row.annotation, geometry=found.only(~is_crumb))
        draft.change("mask_crumbs", row.place, message, instead=swept)
    left = areas[~is_crumb]
    if len(left) >= rules.crumb_pieces and left.max() < rules.crumb_px:
        message = f"the mask is nothing but {len(left)} crumbs, the largest of {left.max()} px"
        draft.flag("mask_crumbs", row.place, message)
