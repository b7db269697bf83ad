"""Checks that JPEGs decoded on the model's device, here the CPU, are those of models/media, and fail alone."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from models.adapter import Adapter, build_random, decodes_jpegs, load
from models.card import BatchLimits, ModelCard
from models.engine import Engine
from models.errors import ItemError, ModelError
from models.jpeg_decoder import JpegDecoder, a_jpeg
from models.media import decode
from models.types import BoxPrompt, Content, EncodedJpeg, ImagePayload, Prediction, Prompts
from tests.models.adapters.vision import WEIGHTS, a_boxed_picture, assert_same, demo_card, predict
from tests.models.media.files import a_jpeg_without

DAMAGED = EncodedJpeg(data=a_jpeg_without(0xDB), size_hw=(48, 64))
ON_DEVICE: dict[str, Any] = {"decode_on_device": True}


def a_jpeg_of(number: int) -> EncodedJpeg:
    """A scene with its true boxes as prompts."""
    payload = a_boxed_picture(number)
    return replace(a_jpeg(payload.image_rgb), prompts=payload.prompts)


def as_decoded(jpeg: EncodedJpeg) -> ImagePayload:
    payload = decode(Content(media="image", data=jpeg.data, prompts=jpeg.prompts))
    assert isinstance(payload, ImagePayload)
    return payload


def a_torchvision_card() -> ModelCard:
    architecture = "ssdlite320_mobilenet_v3_large"
    return ModelCard(
        name="ssd",
        task="detection",
        adapter="torchvision_detection",
        weights=".",
        min_score=0.0,
        architecture={"name": architecture},
        options={"architecture": architecture, "candidate_score": 0.001},
    )


def an_adapter(name: str, **options: Any) -> Adapter[Any, Any]:
    card = a_torchvision_card() if name == "torchvision" else demo_card(name)
    card = replace(card, device="cpu", options=card.options | options)
    return build_random(card) if name == "torchvision" else load(card, WEIGHTS / name)


def test_a_batch_has_the_pixels_of_the_usual_decoder() -> None:
    jpegs = [a_jpeg_of(number) for number in range(3)]

    images = JpegDecoder(device="cpu").decode(jpegs)

    assert len({image.shape for image in images}) > 1
    for image, jpeg in zip(images, jpegs, strict=True):
        assert torch.equal(image.permute(1, 2, 0), torch.from_numpy(as_decoded(jpeg).image_rgb))


def test_no_jpegs_give_no_images() -> None:
    assert JpegDecoder(device="cpu").decode([]) == []


def test_a_damaged_jpeg_looks_whole_from_outside() -> None:
    assert decode(Content(media="image", data=DAMAGED.data), keeps_jpegs=True) == DAMAGED


def test_a_damaged_jpeg_is_named_as_ever() -> None:
    with pytest.raises(ItemError) as caught:
        JpegDecoder(device="cpu").decode([a_jpeg_of(0), DAMAGED])

    assert caught.value.code == "unreadable_image"


def test_an_image_of_another_size_than_its_header_said_is_decoded_as_ever() -> None:
    jpeg = a_jpeg(np.zeros((16, 32, 3), dtype=np.uint8))

    [image] = JpegDecoder(device="cpu").decode([replace(jpeg, size_hw=(32, 16))])

    assert image.shape == (3, 16, 32)


@pytest.mark.parametrize("name", ["detection", "segmentation", "torchvision"])
def test_a_model_that_decodes_finds_what_it_finds_in_pixels(name: str) -> None:
    jpegs = [a_jpeg_of(number) for number in range(4)]
    adapter, usual = an_adapter(name, **ON_DEVICE), an_adapter(name)
    mixed = [jpegs[0], as_decoded(jpegs[1]), jpegs[2], jpegs[3]]

    found = predict(adapter, mixed)

    assert (decodes_jpegs(adapter), decodes_jpegs(usual)) == (True, False)
    wanted = predict(usual, [as_decoded(jpeg) for jpeg in jpegs])
    for prediction, own in zip(found, wanted, strict=True):
        assert own.annotations
        if name == "torchvision":
            assert prediction == own
        else:
            assert_same(prediction, own)


@pytest.mark.parametrize("name", ["detection", "segmentation", "torchvision"])
def test_a_damaged_jpeg_fails_alone(name: str) -> None:
    jpegs = [a_jpeg_of(0), a_jpeg_of(1), DAMAGED, a_jpeg_of(2), a_jpeg_of(3)]
    if name == "segmentation":
        jpegs[2] = replace(DAMAGED, prompts=Prompts(boxes=(BoxPrompt(xyxy=(1.0, 1.0, 20.0, 20.0)),)))

    answers = asyncio.run(answered(an_adapter(name, **ON_DEVICE), jpegs))

    assert isinstance(answers[2], ItemError)
    assert answers[2].code == "unreadable_image"
    assert [isinstance(answer, Prediction) for answer in answers] == [True, True, False, True, True]


async def answered(adapter: Adapter[Any, Any], jpegs: list[EncodedJpeg]) -> list[Prediction | BaseException]:
    engine = Engine(adapter, decode=lambda content: decode(content, keeps_jpegs=True), limits=BatchLimits())
    try:
        contents = [Content(media="image", data=jpeg.data, prompts=jpeg.prompts) for jpeg in jpegs]
        return await asyncio.gather(*map(engine.predict, contents), return_exceptions=True)
    finally:
        await engine.close()


def test_where_jpegs_are_decoded_is_a_part_of_the_configurations_digest() -> None:
    card = demo_card("detection")

    assert replace(card, options=card.options | ON_DEVICE).digest() != card.digest()


def test_a_model_without_a_fixed_input_size_cannot_decode_on_its_device() -> None:
    from transformers import AutoConfig, AutoModelForObjectDetection, RTDetrImageProcessor

    from models.adapters.transformers_detection import TransformersDetector

    processor = RTDetrImageProcessor(size={"shortest_edge": 64, "longest_edge": 128})
    network = AutoModelForObjectDetection.from_config(AutoConfig.from_pretrained(WEIGHTS / "detection"))

    with pytest.raises(ModelError, match="no fixed input size") as refusal:
        TransformersDetector(replace(demo_card("detection"), options=ON_DEVICE), network, processor)

    assert refusal.value.code == "bad_card"
