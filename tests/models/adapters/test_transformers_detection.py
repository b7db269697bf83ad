"""Checks detectors of Hugging Face: the demo's own, a small DETR, and RT-DETRv2 at full size."""

from __future__ import annotations

import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models.adapter import build_random, load
from models.adapters.transformers_detection import TransformersDetector
from models.card import ModelCard
from models.errors import ItemError, ModelError
from models.precision import compute_in
from models.types import Box, ImagePayload, TextPayload
from tests.models.adapters.vision import (
    WEIGHTS,
    a_picture,
    assert_same,
    demo_adapter,
    demo_card,
    predict,
    random_batches,
    write_trap,
)


def a_card(**changes: object) -> ModelCard:
    return replace(ModelCard(name="shapes", task="detection", adapter="transformers_detection", weights="."), **changes)


def a_saved_detr(folder: Path) -> Path:
    """A tiny DETR (softmax with no-object, inputs of varying size) with random weights."""
    from transformers import AutoConfig, AutoModelForObjectDetection, DetrImageProcessor

    backbone = AutoConfig.for_model(
        "resnet",
        embedding_size=8,
        hidden_sizes=[8, 16, 16, 32],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage4"],
    )
    config = AutoConfig.for_model(
        "detr",
        backbone_config=backbone,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        num_queries=10,
        num_labels=4,
    )
    torch.manual_seed(0)
    network = AutoModelForObjectDetection.from_config(config)
    torch.nn.init.normal_(network.get_parameter("class_labels_classifier.weight"))  # scores that padding would move
    network.save_pretrained(folder)
    DetrImageProcessor(size={"shortest_edge": 96, "longest_edge": 160}).save_pretrained(folder)
    return folder


def test_the_demo_detector_finds_the_shapes_of_an_easy_scene() -> None:
    from models.demo.evaluate_vision import evaluate_detection

    detector = load(demo_card("detection"), WEIGHTS / "detection")

    figures = evaluate_detection(detector, part="easy", n=24)  # pyright: ignore[reportArgumentType]

    assert figures["map50"] > 0.75


def test_boxes_come_best_first_within_the_image_and_above_min_score() -> None:
    card = demo_card("detection")
    payload = a_picture(3, part="hard")

    [prediction] = predict(load(card, WEIGHTS / "detection"), [payload])

    height, width = payload.image_rgb.shape[:2]
    scores = [found.score for found in prediction.annotations]
    boxes = np.array([found.geometry.xyxy for found in prediction.annotations if isinstance(found.geometry, Box)])
    assert [found.id for found in prediction.annotations] == [str(index) for index in range(len(scores))]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) >= card.min_score
    assert (boxes >= 0.0).all()
    assert (boxes <= (width, height, width, height)).all()


def test_an_image_scores_the_same_alone_and_in_any_batch() -> None:
    detector = demo_adapter("detection")
    payloads = [a_picture(number) for number in range(8)]
    alone = [predict(detector, [payload])[0] for payload in payloads]

    for batch in random_batches(8, size=5, seed=0):
        together = predict(detector, [payloads[index] for index in batch])

        for index, prediction in zip(batch, together, strict=True):
            assert_same(prediction, alone[index])


def test_a_detr_scores_the_same_alone_and_among_images_of_other_sizes(tmp_path: Path) -> None:
    detector = load(a_card(min_score=0.0), a_saved_detr(tmp_path))
    payloads = [a_picture(number) for number in range(6)]
    alone = [predict(detector, [payload])[0] for payload in payloads]

    together = predict(detector, payloads)

    assert all(len(prediction.annotations) == 10 for prediction in together)
    for prediction, single in zip(together, alone, strict=True):
        assert_same(prediction, single)


def test_an_empty_batch_stays_empty() -> None:
    assert predict(demo_adapter("detection"), []) == []


@pytest.mark.parametrize("size_hw", [(1, 1), (3, 200), (200, 3)])
def test_odd_sizes_are_answered(size_hw: tuple[int, int]) -> None:
    payload = ImagePayload(image_rgb=np.full((*size_hw, 3), 127, dtype=np.uint8))

    [prediction] = predict(demo_adapter("detection"), [payload])

    assert 0.0 <= prediction.signals["no_miss"] <= 1.0


def test_a_card_renames_and_drops_labels() -> None:
    card = replace(demo_card("detection"), labels={"circle": "disc", "square": ""}, min_score=0.05)
    payloads = [a_picture(number) for number in range(6)]

    predictions = predict(load(card, WEIGHTS / "detection"), payloads)

    labels = {found.label for prediction in predictions for found in prediction.annotations}
    assert "disc" in labels
    assert not labels & {"circle", "square"}


def test_nms_removes_overlapping_boxes_of_one_label() -> None:
    crowded = replace(demo_card("detection"), min_score=0.0)
    sparse = replace(crowded, options={"nms_iou": 0.1})
    payload = a_picture(1)

    [before] = predict(load(crowded, WEIGHTS / "detection"), [payload])
    [after] = predict(load(sparse, WEIGHTS / "detection"), [payload])

    assert 0 < len(after.annotations) < len(before.annotations)


def test_half_precision_falls_back_to_fp32_on_a_cpu() -> None:
    payload = a_picture(2)
    half = replace(demo_card("detection"), precision="bf16", device="cpu")

    [prediction] = predict(load(half, WEIGHTS / "detection"), [payload])

    assert_same(prediction, predict(demo_adapter("detection"), [payload])[0])


def test_a_text_is_refused() -> None:
    with pytest.raises(ItemError, match="TextPayload") as caught:
        demo_adapter("detection").prepare([TextPayload(text="a circle")])

    assert caught.value.code == "wrong_media"


def test_pickled_weights_are_refused_and_not_opened(tmp_path: Path) -> None:
    shutil.copy(WEIGHTS / "detection" / "config.json", tmp_path)
    sprung = write_trap(tmp_path / "pytorch_model.bin")

    with pytest.raises(ModelError) as caught:
        load(a_card(), tmp_path)

    assert caught.value.code == "unsafe_weights"
    assert not sprung.exists()


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        load(a_card(), tmp_path)

    assert caught.value.code == "missing_weights"


def test_a_folder_without_a_preprocessor_is_refused(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        shutil.copy(WEIGHTS / "detection" / name, tmp_path)

    with pytest.raises(ModelError) as caught:
        load(a_card(), tmp_path)

    assert caught.value.code == "missing_weights"


@pytest.mark.parametrize(
    "changes",
    [{"options": {"nms": 0.5}}, {"options": {"nms_iou": 7.0}}, {"precision": "int8"}],
)
def test_a_card_that_cannot_be_met_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ModelError) as caught:
        load(a_card(**changes), WEIGHTS / "detection")

    assert caught.value.code == "bad_card"


def test_boxes_and_scores_are_those_of_the_library() -> None:
    stretched = Image.fromarray(a_picture(0).image_rgb).resize((701, 433))
    detector = load(replace(demo_card("detection"), options={}, min_score=0.05), WEIGHTS / "detection")
    assert isinstance(detector, TransformersDetector)
    payload = ImagePayload(image_rgb=np.array(stretched))

    [prediction] = predict(detector, [payload])

    inputs = detector._processor(images=[stretched], return_tensors="pt")
    with torch.inference_mode():
        answer = detector._network(**inputs)
    [wanted] = detector._processor.post_process_object_detection(  # pyright: ignore[reportAttributeAccessIssue]
        answer, threshold=0.05, target_sizes=[(433, 701)]
    )
    # The library lists a query once for each class that it may be; we give it its best class alone.
    scores, boxes = wanted["scores"].numpy(), np.clip(wanted["boxes"].numpy(), 0.0, [701, 433, 701, 433])
    assert len(prediction.annotations) > 5
    for found in prediction.annotations:
        assert isinstance(found.geometry, Box)
        nearest = np.abs(boxes - found.geometry.xyxy).max(axis=1) + (np.abs(scores - found.score) > 1e-4)
        assert nearest.min() < 0.01


def test_half_precision_in_the_backbone_leaves_boxes_where_they_are() -> None:
    detector = load(demo_card("detection"), WEIGHTS / "detection")
    assert isinstance(detector, TransformersDetector)
    pixels = detector._stacked([sample.pixels for sample in detector.prepare([a_picture(n) for n in range(8)])])
    network = detector._network

    with torch.inference_mode():
        wanted = network(pixel_values=pixels)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            everywhere = network(pixel_values=pixels)
        compute_in(torch.bfloat16, network.get_submodule("model.backbone"), device="cpu")
        backbone = network(pixel_values=pixels)

    assert backbone.pred_boxes.dtype == torch.float32
    assert not torch.equal(backbone.logits, wanted.logits)  # it did compute in bf16
    assert _largest_shift(backbone, wanted) < 1.1 / 640
    assert _largest_shift(everywhere, wanted) > 1.5 * _largest_shift(backbone, wanted)  # what it would cost otherwise


def _largest_shift(answer: Any, wanted: Any) -> float:
    """How far the sure boxes moved, of the image's side."""
    shifts = list[float]()
    for boxes, scores, true_boxes, true_scores in zip(
        answer.pred_boxes, answer.logits.sigmoid(), wanted.pred_boxes, wanted.logits.sigmoid(), strict=True
    ):
        for query in (true_scores.max(dim=-1).values > 0.5).nonzero()[:, 0]:
            other_class = scores.argmax(dim=-1) != true_scores[query].argmax()
            distances = (boxes.float() - true_boxes[query]).abs().max(dim=-1).values + other_class.float()
            shifts.append(float(distances.min()))
    return max(shifts)


def test_a_family_whose_library_is_not_installed_is_refused() -> None:
    if find_spec("timm") is not None:
        pytest.skip("timm is installed here, so nothing is missing; the lock leaves it out")

    with pytest.raises(ModelError, match="timm") as caught:
        build_random(a_card(architecture={"model_type": "detr"}))

    assert caught.value.code == "bad_card"
