"""Checks torchvision's detectors: small ones with random weights, and Faster R-CNN at full size."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision.models import get_model

from models.adapter import build_random, load
from models.card import ModelCard
from models.errors import ItemError, ModelError
from models.types import Box, ImagePayload, TextPayload
from tests.models.adapters.vision import a_picture, predict, random_batches, write_trap

SMALL = "ssdlite320_mobilenet_v3_large"
PADDING = "fasterrcnn_mobilenet_v3_large_320_fpn"
LABELS = ["background", "circle", "square"]


def a_card(architecture: str = SMALL, **changes: object) -> ModelCard:
    card = ModelCard(
        name="shapes",
        task="detection",
        adapter="torchvision_detection",
        weights=".",
        min_score=0.0,
        architecture={"name": architecture},
        options={"architecture": architecture, "candidate_score": 0.001},
    )
    return replace(card, **changes)


def a_state_dict() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return get_model(SMALL, weights=None, weights_backbone=None, num_classes=3).state_dict()


def test_safetensors_and_pth_hold_the_same_model(tmp_path: Path) -> None:
    safe, restricted = tmp_path / "safe", tmp_path / "restricted"
    for folder in (safe, restricted):
        folder.mkdir()
        (folder / "labels.json").write_text(json.dumps(LABELS))
    save_file(a_state_dict(), safe / "model.safetensors")
    torch.save(a_state_dict(), restricted / "model.pth")

    [from_safe], [from_pth] = (predict(load(a_card(), folder), [a_picture(0)]) for folder in (safe, restricted))

    assert from_safe == from_pth
    assert {found.label for found in from_safe.annotations} <= {"circle", "square"}


def a_sensitive_network() -> torch.nn.Module:
    """A Faster R-CNN whose random weights let every pixel, those of the padding too, reach the scores."""
    network = get_model(PADDING, weights=None, weights_backbone=None, num_classes=91, box_score_thresh=0.001)
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.kaiming_normal_(module.weight)
    for layer in ("cls_score", "bbox_pred"):
        torch.nn.init.normal_(network.get_parameter(f"roi_heads.box_predictor.{layer}.weight"), std=1e-3)
    return network.eval()


def test_boxes_and_scores_are_those_of_the_library(tmp_path: Path) -> None:
    network = a_sensitive_network()
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    image_rgb = np.array(Image.fromarray(a_picture(0).image_rgb).resize((701, 433)))

    [prediction] = predict(load(a_card(PADDING), tmp_path), [ImagePayload(image_rgb=image_rgb)])

    with torch.inference_mode():
        [wanted] = network([torch.from_numpy(image_rgb).permute(2, 0, 1) / 255.0])
    found = np.array(
        [annotation.geometry.xyxy for annotation in prediction.annotations if annotation.geometry.kind == "box"]
    )
    sides = wanted["boxes"][:, 2:] - wanted["boxes"][:, :2]
    kept = (sides > 0).all(dim=1)
    order = wanted["scores"][kept].argsort(descending=True, stable=True)
    assert len(found) > 5
    np.testing.assert_allclose(found, wanted["boxes"][kept][order], rtol=0.0, atol=0.01)
    scores = [annotation.score for annotation in prediction.annotations]
    np.testing.assert_allclose(scores, wanted["scores"][kept][order], rtol=0.0, atol=1e-5)


def test_an_image_scores_the_same_alone_and_among_images_of_other_sizes(tmp_path: Path) -> None:
    save_file(a_sensitive_network().state_dict(), tmp_path / "model.safetensors")
    detector = load(a_card(PADDING), tmp_path)
    payloads = [a_picture(number) for number in range(5)]
    alone = [predict(detector, [payload])[0] for payload in payloads]

    for batch in random_batches(5, size=3, seed=1):
        together = predict(detector, [payloads[index] for index in batch])

        for index, prediction in zip(batch, together, strict=True):
            # Of a random network's boxes many score alike, and which one suppresses its neighbours is a matter of luck.
            best, wanted = ([a.score for a in result.annotations[:20]] for result in (prediction, alone[index]))
            np.testing.assert_allclose(best, wanted, rtol=0.0, atol=1e-3)
    assert any(prediction.annotations for prediction in alone)


def test_torchvision_itself_lets_the_sizes_of_a_batch_move_the_scores() -> None:
    network = a_sensitive_network()
    images = [torch.from_numpy(a_picture(number).image_rgb).permute(2, 0, 1) / 255.0 for number in range(4)]

    with torch.inference_mode():
        together, alone = network(images), [network([image])[0] for image in images]

    pairs = [(one["scores"], other["scores"]) for one, other in zip(together, alone, strict=True)]
    assert any(len(one) != len(other) or (one - other).abs().max() > 1e-3 for one, other in pairs if len(other))


def test_the_size_of_an_image_is_known_before_it_is_resized() -> None:
    sizes_hw = [(40, 300), (333, 211), (500, 500)]
    images = [ImagePayload(image_rgb=np.zeros((*size_hw, 3), dtype=np.uint8)) for size_hw in sizes_hw]

    samples = build_random(a_card()).prepare(images)

    assert [sample.padded_hw for sample in samples] == [tuple(sample.pixels.take().shape[1:]) for sample in samples]


def test_an_empty_batch_stays_empty() -> None:
    assert predict(build_random(a_card()), []) == []


def test_boxes_lie_within_the_original_image() -> None:
    payload = ImagePayload(image_rgb=np.zeros((40, 700, 3), dtype=np.uint8))

    [prediction] = predict(build_random(a_card()), [payload])

    boxes = np.array([found.geometry.xyxy for found in prediction.annotations if isinstance(found.geometry, Box)])
    assert (boxes >= 0.0).all()
    assert (boxes <= (700, 40, 700, 40)).all()
    assert boxes[:, 2].max() > 320.0


def test_a_text_is_refused() -> None:
    with pytest.raises(ItemError) as caught:
        build_random(a_card()).prepare([TextPayload(text="a circle")])

    assert caught.value.code == "wrong_media"


@pytest.mark.parametrize("name", ["model.pth", "model.pkl", "model.bin"])
def test_pickles_are_refused_and_not_executed(tmp_path: Path, name: str) -> None:
    sprung = write_trap(tmp_path / name)

    with pytest.raises(ModelError) as caught:
        load(a_card(), tmp_path)

    assert caught.value.code == "unsafe_weights"
    assert not sprung.exists()


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "model.safetensors")

    with pytest.raises(ModelError, match="do not fit") as caught:
        load(a_card(), tmp_path)

    assert caught.value.code == "missing_weights"


def test_an_unknown_architecture_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="fasterrcnn_resnet50_fpn_v2") as caught:
        load(a_card("yolo9"), tmp_path)

    assert caught.value.code == "bad_card"


@pytest.mark.full_size
def test_faster_rcnn_at_full_size_answers_one_image() -> None:
    detector = build_random(a_card("fasterrcnn_resnet50_fpn_v2"))
    payload = a_picture(0)

    [sample] = detector.prepare([payload])
    [prediction] = detector.read(detector.forward([sample]), [payload])

    assert sample.cost > 0.6
    assert all(0.0 <= found.score <= 1.0 for found in prediction.annotations)
    assert 0.0 <= prediction.signals["no_miss"] <= 1.0
