"""Checks the mirrored view: exact there and back, consistent with itself, and less so where a detector is worse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.demo.scenes import Part
from models.media import MediaLimits, decode
from models.types import Annotation, Box, ImagePayload, PointPrompt, Prediction, Prompts
from pipelines.disagreement.flip import Flip, flip_doubts, flipped, flipped_back
from tests.pipelines.disagreement.demo import DemoModels, adapter_of, content_of, predict, scenes

corners = st.tuples(*[st.floats(0, 90)] * 2, *[st.floats(1, 60)] * 2).map(
    lambda c: (c[0], c[1], c[0] + c[2], c[1] + c[3])
)
annotations = st.lists(
    st.builds(
        Annotation,
        id=st.just("0"),
        label=st.sampled_from(["cat", "dog"]),
        geometry=st.builds(Box, xyxy=corners),
        score=st.floats(0, 1),
    ),
    max_size=5,
)
predictions = annotations.map(lambda found: Prediction(annotations=tuple(found)))


def a_box(x: float, *, label: str = "cat", score: float = 0.9, width: float = 20.0) -> Annotation:
    return Annotation(id="0", label=label, geometry=Box(xyxy=(x, 5.0, x + width, 25.0)), score=score)


def view(*boxes: Annotation) -> Prediction:
    return Prediction(annotations=boxes)


@pytest.mark.parametrize("size_hw", [(1, 1), (7, 5), (40, 61)])
def test_a_mirrored_image_has_the_same_pixels_from_the_other_side(size_hw: tuple[int, int]) -> None:
    image_rgb = np.random.default_rng(0).integers(0, 256, size=(*size_hw, 3), dtype=np.uint8)

    mirrored, width = flipped(content_of(image_rgb), MediaLimits())

    again = decode(mirrored)
    assert isinstance(again, ImagePayload)
    assert (again.image_rgb == image_rgb[:, ::-1]).all()
    assert width == size_hw[1]


@given(predictions, st.integers(1, 500))
def test_boxes_mirrored_twice_are_where_they_were(prediction: Prediction, width: int) -> None:
    twice = flipped_back(flipped_back(prediction, width=width), width=width)

    for one, other in zip(prediction.annotations, twice.annotations, strict=True):
        assert isinstance(one.geometry, Box) and isinstance(other.geometry, Box)
        assert other.geometry.xyxy == pytest.approx(one.geometry.xyxy, abs=1e-9)


@given(predictions, predictions)
def test_every_entry_lies_between_zero_and_one(one: Prediction, other: Prediction) -> None:
    assert all(0.0 <= value <= 1.0 for value in flip_doubts(one, other).values())


def test_a_view_that_is_sure_and_the_same_leaves_no_doubt() -> None:
    sure = view(a_box(0.0, score=1.0), a_box(50.0, label="dog", score=1.0))

    assert flip_doubts(sure, sure) == {
        "flip_location": pytest.approx(0.0),
        "flip_inconsistency": pytest.approx(0.0),
        "flip_cald": pytest.approx(1.0 - 0.7),  # c = 2, and |2 − 1.3| = 0.7
    }


def test_the_consistency_of_a_pair_is_the_value_worked_out_by_hand() -> None:
    one, other = view(a_box(0.0, score=0.9)), view(a_box(10.0, score=0.7))  # IoU 1/3

    p, q = np.array([0.9, 0.1]), np.array([0.7, 0.3])
    middle = (p + q) / 2
    js = float((p * np.log(p / middle)).sum() + (q * np.log(q / middle)).sum()) / 2
    consistency = 1 / 3 + 0.5 * (1 - js) * 1.6
    assert flip_doubts(one, other) == {
        "flip_location": pytest.approx(2 / 3),
        "flip_inconsistency": pytest.approx(1 - consistency / 2),
        "flip_cald": pytest.approx(1 - abs(consistency - 1.3)),
    }


def test_moved_renamed_weaker_and_lost_boxes_are_each_more_doubtful() -> None:
    one = view(a_box(0.0), a_box(100.0))
    same = flip_doubts(one, one)["flip_inconsistency"]

    for worse in (a_box(104.0), a_box(100.0, label="dog"), a_box(100.0, score=0.4)):
        assert flip_doubts(one, view(a_box(0.0), worse))["flip_inconsistency"] > same
    lost = flip_doubts(one, view(a_box(0.0)))
    assert lost["flip_inconsistency"] == 1.0
    assert lost["flip_location"] == pytest.approx(0.0)


def test_views_without_boxes_agree_and_one_without_any_does_not() -> None:
    assert flip_doubts(view(), view()) == {"flip_inconsistency": 0.0}
    assert flip_doubts(view(a_box(0.0)), view()) == flip_doubts(view(), view(a_box(0.0)))
    assert flip_doubts(view(), view(a_box(0.0)))["flip_inconsistency"] == 1.0


async def doubts_of(part: Part, *, count: int) -> dict[str, float]:
    """The mean of each entry over some scenes."""
    detector, found = adapter_of("detection"), list[dict[str, float]]()
    for drawn in scenes(part, count=count):
        content = content_of(drawn.image_rgb)
        found.append(
            await Flip(detector="finder").measure(
                content,
                predict(detector, content),
                DemoModels({"finder": detector}),
                priority="bulk",
                deadline_s=None,
            )
        )
    names = ("flip_location", "flip_inconsistency")
    return {name: float(np.mean([own[name] for own in found if name in own])) for name in names}


@pytest.mark.parametrize("count", [8, pytest.param(100, marks=pytest.mark.statistics)])
async def test_the_detector_contradicts_its_mirrored_view_more_on_scenes_that_it_finds_hard(count: int) -> None:
    easy, hard, strange = [await doubts_of(part, count=count) for part in ("easy", "hard", "out_of_domain")]

    for name, value in easy.items():
        assert hard[name] > 1.5 * value
    assert strange["flip_inconsistency"] > 1.5 * easy["flip_inconsistency"]


async def test_a_callers_prompts_leave_no_detector_to_ask() -> None:
    content = content_of(
        np.zeros((9, 9, 3), np.uint8),
        prompts=Prompts(points=(PointPrompt(points_xy=((1, 1),), is_foreground=(True,)),)),
    )
    models = DemoModels({})

    found = await Flip(detector="finder").measure(content, view(), models, priority="bulk", deadline_s=None)

    assert found == {}
    assert models.asked == []


async def test_the_mirrored_image_is_another_content_without_prompts() -> None:
    content = replace(content_of(np.zeros((9, 9, 3), np.uint8), prompts=Prompts(labels=("cat",))), digest="d")
    models = DemoModels({"finder": adapter_of("detection")})

    await Flip(detector="finder").measure(content, view(), models, priority="bulk", deadline_s=None)

    [(name, asked)] = models.asked
    assert name == "finder"
    assert (asked.digest, asked.prompts) == (None, Prompts())
