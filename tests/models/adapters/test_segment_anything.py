"""Checks Segment Anything: the demo's small one with every kind of prompt, and ViT-B at full size."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from segment_anything import SamPredictor

from models.adapter import load
from models.card import ModelCard
from models.demo.train_segmentation import SIZES
from models.errors import ItemError, ModelError
from models.geometry import decode_mask, mask_iou
from models.networks.sam import SamSizes, build_network
from models.types import BoxPrompt, ImagePayload, Mask, PointPrompt, Prediction, Prompts
from tests.models.adapters.vision import (
    WEIGHTS,
    a_boxed_picture,
    a_picture,
    a_scene,
    assert_same,
    demo_adapter,
    demo_card,
    predict,
    random_batches,
    write_trap,
)

TINY = {
    "image_px": 64,
    "encoder_width": 16,
    "encoder_depth": 1,
    "encoder_heads": 2,
    "global_attention": [0],
    "prompt_width": 16,
    "decoder_heads": 2,
    "decoder_mlp_width": 16,
}


def a_card(**changes: object) -> ModelCard:
    return replace(ModelCard(name="outlines", task="segmentation", adapter="segment_anything", weights="."), **changes)


def bitmaps(prediction: Prediction) -> list[np.ndarray]:
    return [decode_mask(found.geometry) for found in prediction.annotations if isinstance(found.geometry, Mask)]


def test_true_boxes_give_masks_that_cover_the_shapes() -> None:
    drawn, payload = a_scene(0), a_boxed_picture(0)

    [prediction] = predict(demo_adapter("segmentation"), [payload])

    ious = [mask_iou(found, truth) for found, truth in zip(bitmaps(prediction), drawn.masks, strict=True)]
    assert np.mean(ious) > 0.8


def test_a_mask_carries_the_label_and_the_parent_of_its_box() -> None:
    payload = a_boxed_picture(1)

    [prediction] = predict(demo_adapter("segmentation"), [payload])

    carried = [(found.label, found.parent_id) for found in prediction.annotations]
    assert carried == [(prompt.label, prompt.parent_id) for prompt in payload.prompts.boxes]
    assert all(0.0 <= found.score <= 1.0 for found in prediction.annotations)
    assert {"min_score", "predicted_iou_min", "stability_min", "soft_iou_min", "no_miss"} == prediction.signals.keys()
    assert prediction.signals["no_miss"] == 1.0


def test_a_prompt_that_gets_no_mask_is_a_miss() -> None:
    payload = a_boxed_picture(1)
    segmenter = load(demo_card("segmentation"), WEIGHTS / "segmentation")
    scores = sorted(found.score for found in predict(segmenter, [payload])[0].annotations)
    strict = load(replace(demo_card("segmentation"), min_score=(scores[0] + scores[1]) / 2), WEIGHTS / "segmentation")

    [prediction] = predict(strict, [payload])

    assert len(prediction.annotations) == len(scores) - 1
    assert prediction.signals["no_miss"] == 0.0


def test_masks_and_scores_are_those_of_the_library() -> None:
    drawn, payload = a_scene(3), a_boxed_picture(3)
    centre = tuple(drawn.boxes_xyxy[0].reshape(2, 2).mean(axis=0).tolist())
    points = (
        PointPrompt(points_xy=(centre, (3.0, 3.0)), is_foreground=(True, False)),
        PointPrompt(points_xy=(centre,), is_foreground=(True,)),
        PointPrompt(points_xy=((5.0, 5.0), centre), is_foreground=(False, True)),
    )
    asked = replace(payload, prompts=replace(payload.prompts, points=points))
    segmenter = demo_adapter("segmentation")
    reference = SamPredictor(segmenter._network)  # pyright: ignore[reportAttributeAccessIssue]
    reference.transform.target_length = SIZES.image_px
    reference.set_image(drawn.image_rgb)

    [prediction] = predict(segmenter, [asked])

    wanted = [reference.predict(box=box, multimask_output=False)[:2] for box in drawn.boxes_xyxy]
    for point in points:
        is_single = len(point.points_xy) == 1
        masks, ious, _ = reference.predict(
            point_coords=np.array(point.points_xy),
            point_labels=np.array(point.is_foreground, dtype=int),
            multimask_output=is_single,
        )
        best = int(ious.argmax())
        wanted.append((masks[best : best + 1], ious[best : best + 1]))
    assert len(prediction.annotations) == len(wanted)
    for annotation, bitmap, (masks, ious) in zip(prediction.annotations, bitmaps(prediction), wanted, strict=True):
        assert mask_iou(bitmap, np.asarray(masks[0])) > 0.99
        assert annotation.score == pytest.approx(min(float(ious[0]), 1.0), abs=1e-3)


def test_a_mask_has_the_size_of_the_original_image() -> None:
    payload = ImagePayload(
        image_rgb=np.zeros((30, 500, 3), dtype=np.uint8),
        prompts=Prompts(boxes=(BoxPrompt(xyxy=(10.0, 2.0, 60.0, 28.0)),)),
    )

    [prediction] = predict(demo_adapter("segmentation"), [payload])

    assert all(bitmap.shape == (30, 500) for bitmap in bitmaps(prediction))


def test_an_image_scores_the_same_alone_and_in_any_batch() -> None:
    segmenter = demo_adapter("segmentation")
    payloads = [a_boxed_picture(number) for number in range(6)]
    alone = [predict(segmenter, [payload])[0] for payload in payloads]

    for batch in random_batches(6, size=4, seed=2):
        together = predict(segmenter, [payloads[index] for index in batch])

        for index, prediction in zip(batch, together, strict=True):
            assert_same(prediction, alone[index])


def test_a_point_in_a_shape_gives_its_mask() -> None:
    drawn = a_scene(2)
    rows, columns = np.nonzero(drawn.masks[0])
    centre = (float(np.median(columns)), float(np.median(rows)))
    prompt = PointPrompt(points_xy=(centre,), is_foreground=(True,), label="shape")
    payload = ImagePayload(image_rgb=drawn.image_rgb, prompts=Prompts(points=(prompt,)))

    [prediction] = predict(demo_adapter("segmentation"), [payload])

    [found] = bitmaps(prediction)
    assert prediction.annotations[0].label == "shape"
    assert mask_iou(found, drawn.masks[0]) > 0.5


def test_boxes_and_points_are_answered_in_the_order_of_the_prompts() -> None:
    payload = a_boxed_picture(3)
    point, pair = ((50.0, 50.0),), ((50.0, 50.0), (60.0, 60.0))
    points = (
        PointPrompt(points_xy=pair, is_foreground=(True, False), label="a"),
        PointPrompt(points_xy=point, is_foreground=(True,), label="b"),
        PointPrompt(points_xy=pair, is_foreground=(True, True), label="c"),
    )
    mixed = replace(payload, prompts=Prompts(boxes=payload.prompts.boxes, points=points))
    segmenter = demo_adapter("segmentation")

    [sample] = segmenter.prepare([mixed])

    places = [place for prompted in sample.prompts for place in prompted.places]
    labels = [found.label for found in predict(segmenter, [mixed])[0].annotations]
    asked = [*(prompt.label for prompt in payload.prompts.boxes), "a", "b", "c"]
    assert sorted(places) == list(range(len(asked)))
    assert labels == [label for label in asked if label in labels]


def test_without_prompts_everything_is_outlined_once() -> None:
    drawn = a_scene(4)

    [prediction] = predict(demo_adapter("segmentation"), [ImagePayload(image_rgb=drawn.image_rgb)])

    found = bitmaps(prediction)
    reached = [max((mask_iou(bitmap, truth) for bitmap in found), default=0.0) for truth in drawn.masks]
    assert {annotation.label for annotation in prediction.annotations} <= {"object"}
    assert max(reached) > 0.5
    assert all(mask_iou(a, b) < 0.9 for i, a in enumerate(found) for b in found[:i])


def test_numbers_that_are_not_finite_fail_the_item() -> None:
    segmenter, payload = demo_adapter("segmentation"), a_boxed_picture(0)
    [found] = segmenter.forward(segmenter.prepare([payload]))
    broken = found.logits.clone()
    broken[0, 3, 3] = math.nan

    with pytest.raises(ItemError, match="not finite") as caught:
        segmenter.read([replace(found, logits=broken)], [payload])

    assert caught.value.code == "model_failed"


def test_images_with_and_without_prompts_share_a_batch() -> None:
    segmenter = demo_adapter("segmentation")
    boxed, bare = a_boxed_picture(2), a_picture(4)
    point = PointPrompt(points_xy=((50.0, 50.0),), is_foreground=(True,))
    pointed = replace(boxed, prompts=replace(boxed.prompts, points=(point,)))
    payloads = [boxed, bare, pointed]

    together = predict(segmenter, payloads)

    for payload, prediction in zip(payloads, together, strict=True):
        assert_same(prediction, predict(segmenter, [payload])[0])


def test_an_empty_batch_stays_empty() -> None:
    assert predict(demo_adapter("segmentation"), []) == []


@pytest.mark.parametrize(
    "xyxy",
    [
        (-50.0, -50.0, -10.0, -10.0),
        (900.0, 900.0, 950.0, 950.0),
        (10.0, 10.0, 10.0, 40.0),
        (40.0, 10.0, 20.0, 30.0),
        (math.nan, 0.0, 20.0, 20.0),
        (0.0, 0.0, math.inf, 20.0),
        (),
    ],
)
def test_an_impossible_box_is_refused(xyxy: tuple[float, float, float, float]) -> None:
    payload = replace(a_picture(0), prompts=Prompts(boxes=(BoxPrompt(xyxy=xyxy),)))

    with pytest.raises(ItemError) as caught:
        demo_adapter("segmentation").prepare([payload])

    assert caught.value.code == "invalid_prompt"


@pytest.mark.parametrize(
    ("points_xy", "is_foreground"),
    [((), ()), (((5.0, 5.0),), (True, False)), (((5.0, 999.0),), (True,)), (((math.nan, 5.0),), (True,))],
)
def test_an_impossible_point_is_refused(
    points_xy: tuple[tuple[float, float], ...], is_foreground: tuple[bool, ...]
) -> None:
    prompt = PointPrompt(points_xy=points_xy, is_foreground=is_foreground)
    payload = replace(a_picture(0), prompts=Prompts(points=(prompt,)))

    with pytest.raises(ItemError) as caught:
        demo_adapter("segmentation").prepare([payload])

    assert caught.value.code == "invalid_prompt"


def test_a_pth_file_with_its_sizes_beside_it_is_read(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes = TypeAdapter(SamSizes).validate_python(TINY)
    torch.save(build_network(sizes).state_dict(), tmp_path / "sam.pth")
    (tmp_path / "config.json").write_text(json.dumps(TINY))

    [prediction] = predict(load(a_card(min_score=0.0), tmp_path / "sam.pth"), [a_boxed_picture(0)])

    assert 0.0 <= prediction.signals["stability_min"] <= 1.0


def test_weights_of_other_sizes_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, tmp_path / "sam.pth")

    with pytest.raises(ModelError, match="do not fit") as caught:
        load(a_card(options={"variant": "vit_b"}), tmp_path)

    assert caught.value.code == "missing_weights"


def test_a_pickle_is_refused_and_not_executed(tmp_path: Path) -> None:
    sprung = write_trap(tmp_path / "sam.pth")

    with pytest.raises(ModelError) as caught:
        load(a_card(options={"variant": "vit_b"}), tmp_path)

    assert caught.value.code == "unsafe_weights"
    assert not sprung.exists()


@pytest.mark.parametrize(
    "changes",
    [{"options": {"variant": "vit_x"}}, {"options": {"points": 3}}, {"options": {"points_per_side": 0}}],
)
def test_a_card_that_cannot_be_met_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ModelError) as caught:
        load(a_card(**changes), WEIGHTS / "segmentation")

    assert caught.value.code == "bad_card"
