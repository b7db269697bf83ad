"""Checks the moved boxes, and that a segmenter's masks depend on them the more the harder a scene is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from models.demo.scenes import Part
from models.geometry import encode_mask
from models.types import Annotation, Box, BoxPrompt, Content, PointPrompt, Prediction, Priority, Prompts
from pipelines.disagreement.jitter import Jitter, jittered
from tests.pipelines.disagreement.demo import DemoModels, adapter_of, content_of, scenes, true_boxes

BOXES = (BoxPrompt(xyxy=(0.0, 10.0, 20.0, 50.0), label="cat", parent_id="b7"), BoxPrompt(xyxy=(30.0, 0.0, 31.0, 2.0)))
BLANK = np.zeros((60, 60, 3), np.uint8)


def test_edges_move_by_a_tenth_of_the_side_at_most_and_the_first_boxes_not_at_all() -> None:
    moved = jittered(BOXES, np.random.default_rng(0))

    assert len(moved) == 10
    assert [box.parent_id for box in moved] == ["0", "1"] * 5
    assert [box.xyxy for box in moved[:2]] == [box.xyxy for box in BOXES]
    for box in moved[2:]:
        x1, y1, x2, y2 = BOXES[int(box.parent_id or 0)].xyxy
        change = np.abs(np.subtract(box.xyxy, (x1, y1, x2, y2))) / np.array([x2 - x1, y2 - y1] * 2)
        assert 0.0 < change.max() <= 0.1
    assert {box.label for box in moved} == {"cat", "object"}


@dataclass
class Outliner:
    """Answers each box with a mask as wide as the test says, by the box's place in the call; 0 gives none."""

    widths: list[int]
    asked: list[Content]

    async def predict(
        self, model: str, content: Content, *, priority: Priority, deadline_s: float | None
    ) -> Prediction:
        self.asked.append(content)
        found = list[Annotation]()
        for place, (box, width) in enumerate(zip(content.prompts.boxes, self.widths, strict=True)):
            bitmap = np.zeros((60, 60), dtype=bool)
            bitmap[:, :width] = True
            if width:
                mask = encode_mask(bitmap)
                found.append(Annotation(id=str(place), label="cat", geometry=mask, score=0.9, parent_id=box.parent_id))
        return Prediction(annotations=tuple(found))


async def doubts(widths: list[int], *, boxes: int = 1) -> dict[str, float]:
    prompts = Prompts(boxes=tuple(BoxPrompt(xyxy=(0, 0, 10, 10)) for _ in range(boxes)))
    content = content_of(BLANK, prompts=prompts)
    return await Jitter(segmenter="s").measure(
        content, Prediction(), Outliner(widths, []), priority="bulk", deadline_s=None
    )


async def test_masks_that_stay_the_same_leave_no_doubt_and_ones_that_differ_do() -> None:
    assert await doubts([20] * 5) == {"jitter_max": pytest.approx(0.0), "jitter_mean": pytest.approx(0.0)}
    one_half = await doubts([20, 20, 20, 20, 10])  # 4 of 10 pairs have an IoU of 1/2
    assert one_half["jitter_max"] == pytest.approx(0.2)


async def test_a_mask_that_vanishes_is_a_doubt_and_one_that_never_is_there_is_none() -> None:
    assert (await doubts([20, 20, 20, 20, 0]))["jitter_max"] == pytest.approx(0.4)
    assert (await doubts([0] * 5))["jitter_max"] == pytest.approx(0.0)


async def test_the_worst_box_counts_beside_the_mean() -> None:
    found = await doubts([20, 20] * 4 + [20, 10], boxes=2)

    assert (found["jitter_max"], found["jitter_mean"]) == (pytest.approx(0.2), pytest.approx(0.1))


async def test_the_boxes_of_the_detector_are_asked_about_where_the_caller_gives_none() -> None:
    box = Annotation(id="0", label="cat", geometry=Box(xyxy=(0.0, 10.0, 20.0, 50.0)), score=0.9)
    outliner = Outliner([20] * 5, [])

    await Jitter(segmenter="s").measure(
        content_of(BLANK), Prediction(annotations=(box,)), outliner, priority="bulk", deadline_s=None
    )

    [asked] = outliner.asked
    assert asked.prompts.boxes[0].xyxy == (0.0, 10.0, 20.0, 50.0)


@pytest.mark.parametrize(
    "prompts", [Prompts(), Prompts(points=(PointPrompt(points_xy=((1.0, 1.0),), is_foreground=(True,)),))]
)
async def test_nothing_is_asked_where_no_box_prompted_the_segmenter(prompts: Prompts) -> None:
    outliner = Outliner([], [])
    box = Annotation(id="0", label="cat", geometry=Box(xyxy=(0.0, 10.0, 20.0, 50.0)), score=0.9)
    prediction = Prediction(annotations=(box,) if prompts.points else ())

    found = await Jitter(segmenter="s").measure(
        content_of(BLANK, prompts=prompts), prediction, outliner, priority="bulk", deadline_s=None
    )

    assert found == {}
    assert outliner.asked == []


async def mean_doubt(part: Part, *, count: int) -> float:
    models = DemoModels({"outliner": adapter_of("segmentation")})
    found = [
        await Jitter(segmenter="outliner").measure(
            content_of(drawn.image_rgb, prompts=true_boxes(drawn)),
            Prediction(),
            models,
            priority="bulk",
            deadline_s=None,
        )
        for drawn in scenes(part, count=count)
    ]
    return float(np.mean([own["jitter_mean"] for own in found]))


@pytest.mark.parametrize("count", [6, pytest.param(60, marks=pytest.mark.statistics)])
async def test_masks_hang_on_their_boxes_more_on_scenes_that_the_segmenter_finds_hard(count: int) -> None:
    easy, hard, strange = [await mean_doubt(part, count=count) for part in ("easy", "hard", "out_of_domain")]

    assert hard > 1.3 * easy
    assert strange > 1.3 * easy


async def test_an_item_that_comes_again_is_measured_alike() -> None:
    drawn = scenes("hard", count=1)[0]
    content = content_of(drawn.image_rgb, prompts=true_boxes(drawn))
    models = DemoModels({"outliner": adapter_of("segmentation")})

    one, other = [
        await Jitter(segmenter="outliner").measure(content, Prediction(), models, priority="bulk", deadline_s=None)
        for _ in range(2)
    ]

    assert one == other
    assert models.asked[0] == models.asked[1]
