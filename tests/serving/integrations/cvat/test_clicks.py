"""Checks how clicks become prompts, and which of the masks found is taken."""

from __future__ import annotations

import numpy as np
import pytest

from models.errors import ItemError
from models.geometry import decode_mask, encode_mask
from models.types import Annotation, BoxPrompt, Mask, PointPrompt, Prompts
from serving.integrations.cvat.clicks import Clicks, read_box


def a_mask(top: int, bottom: int, *, score: float) -> Annotation:
    bitmap = np.zeros((10, 10), dtype=bool)
    bitmap[top:bottom] = True
    return Annotation(id=str(top), label="object", geometry=encode_mask(bitmap), score=score)


def test_points_are_one_prompt_and_a_box_another() -> None:
    clicks = Clicks(positive=((1.0, 2.0),), negative=((3.0, 4.0),), box=(0.0, 0.0, 5.0, 6.0))

    assert clicks.prompts() == Prompts(
        boxes=(BoxPrompt(xyxy=(0.0, 0.0, 5.0, 6.0)),),
        points=(PointPrompt(points_xy=((1.0, 2.0), (3.0, 4.0)), is_foreground=(True, False)),),
    )


def test_negative_points_alone_ask_for_nothing() -> None:
    with pytest.raises(ItemError, match="neither a positive point nor a box"):
        Clicks(negative=((3.0, 4.0),)).prompts()
    assert Clicks(negative=((3.0, 4.0),), box=(0.0, 0.0, 5.0, 6.0)).prompts().points == ()


def test_the_mask_that_agrees_with_more_points_is_taken_and_among_equals_the_surer_one() -> None:
    unsure, sure, other = a_mask(0, 5, score=0.2), a_mask(0, 4, score=0.9), a_mask(5, 10, score=0.95)

    def chosen(clicks: Clicks) -> float:
        found = clicks.chosen([unsure, sure, other])
        assert found is not None
        return found.score

    assert chosen(Clicks(positive=((2.0, 1.0),))) == 0.9
    assert chosen(Clicks(positive=((2.0, 1.0), (2.0, 4.5)))) == 0.2
    assert chosen(Clicks(positive=((2.0, 7.0),), negative=((2.0, 1.0),))) == 0.95


def test_a_mask_is_cut_to_the_box() -> None:
    found = Clicks(box=(2.0, 1.5, 4.0, 3.0)).chosen([a_mask(0, 10, score=0.5)])

    assert found is not None
    assert isinstance(found.geometry, Mask)
    assert np.argwhere(decode_mask(found.geometry)).tolist() == [[1, 2], [1, 3], [2, 2], [2, 3]]
    assert Clicks(box=(2.0, 1.5, 4.0, 3.0)).chosen([a_mask(8, 10, score=0.5)]) is None
    assert Clicks(box=(2.0, 1.5, 4.0, 3.0)).chosen([]) is None


@pytest.mark.parametrize(
    ("corners", "box"),
    [
        (None, None),
        ([], None),
        ([1, 2, 3, 4], (1.0, 2.0, 3.0, 4.0)),
        ([[1, 2], [3, 4]], (1.0, 2.0, 3.0, 4.0)),
        ([[3, 2], [1, 4]], (1.0, 2.0, 3.0, 4.0)),
    ],
)
def test_a_box_is_read_from_every_form_that_cvat_has_had(
    corners: list[float] | None, box: tuple[float, ...] | None
) -> None:
    assert read_box(corners) == box


@pytest.mark.parametrize("corners", [[1, 2, 3], [[1, 2]], [[1, 2], [3]], [[1, 2], 3]])
def test_anything_else_is_no_box(corners: list[float]) -> None:
    with pytest.raises(ItemError, match="a box must be"):
        read_box(corners)
