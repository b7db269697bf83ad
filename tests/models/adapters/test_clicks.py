"""Checks that a second question about an image is answered by the decoder alone, and no otherwise than the first."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from models.adapter import load
from models.card import BatchLimits
from models.engine import Engine
from models.errors import ItemError
from models.jpeg_decoder import a_jpeg
from models.kept_features import Features
from models.media import decode
from models.types import BoxPrompt, Content, KnownImage, Payload, PointPrompt, Prediction, Priority, Prompts
from tests.models.adapters.vision import (
    WEIGHTS,
    a_boxed_picture,
    a_scene,
    assert_same,
    demo_card,
    predict,
    random_batches,
)

ROOM_FOR_ALL = 64


class Counting(torch.nn.Module):
    """An encoder that notes how many images each of its passes was over."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner, self.passes = inner, list[int]()

    def forward(self, squares: torch.Tensor) -> torch.Tensor:
        self.passes.append(len(squares))
        return self.inner(squares)


def a_segmenter(*, kept_mib: int = ROOM_FOR_ALL, **changes: Any) -> tuple[Any, Counting]:
    """The demo's segmenter, and its encoder."""
    card = demo_card("segmentation")
    options = card.options | {"kept_features_mib": kept_mib} | changes.pop("options", {})
    segmenter: Any = load(replace(card, min_score=0.0, options=options, **changes), WEIGHTS / "segmentation")
    segmenter._network.image_encoder = encoder = Counting(segmenter._network.image_encoder)
    return segmenter, encoder


def a_click(x: float = 50.0, y: float = 50.0) -> Prompts:
    return Prompts(points=(PointPrompt(points_xy=((x, y),), is_foreground=(True,)),))


def a_content(number: int, prompts: Prompts = a_click()) -> Content:
    data = a_jpeg(a_scene(number).image_rgb).data
    return Content(media="image", data=data, prompts=prompts, digest=hashlib.sha256(data).hexdigest())


def payload_of(segmenter: Any, content: Content) -> Payload:
    return segmenter.recalled(content) or decode(content, keeps_jpegs=segmenter.decodes_jpegs)


def asked(segmenter: Any, contents: Sequence[Content]) -> list[Prediction]:
    """The answers as an engine gets them."""
    return predict(segmenter, [payload_of(segmenter, content) for content in contents])


@pytest.mark.parametrize("options", [{}, {"decode_on_device": True}], ids=["pixels", "JPEGs"])
def test_a_second_click_needs_neither_the_pixels_nor_the_encoder_and_says_the_same(options: dict[str, Any]) -> None:
    (segmenter, encoder), (forgetful, other) = a_segmenter(options=options), a_segmenter(kept_mib=0, options=options)
    clicks = [a_content(0, a_click(x, x)) for x in (20.0, 40.0, 60.0)]

    answers = [asked(segmenter, [click])[0] for click in clicks]

    assert answers == [asked(forgetful, [click])[0] for click in clicks]
    assert answers[0] != answers[1] != answers[2]
    assert all(answer.annotations for answer in answers)
    assert isinstance(payload_of(segmenter, clicks[1]), KnownImage)
    assert (encoder.passes, other.passes) == ([1], [1, 1, 1])


def test_everything_in_a_known_image_is_what_it_was() -> None:
    segmenter, encoder = a_segmenter()
    everything = a_content(4, Prompts())

    first, second = asked(segmenter, [everything])[0], asked(segmenter, [everything])[0]

    assert first == second
    assert first.annotations
    assert encoder.passes == [1]


def test_answers_are_the_same_alone_in_a_batch_and_from_what_is_kept() -> None:
    boxed = [replace(a_content(number), prompts=a_boxed_picture(number).prompts) for number in range(6)]
    contents = [replace(own, digest=own.digest if number % 3 else None) for number, own in enumerate(boxed)]
    (forgetful, _), (segmenter, encoder) = a_segmenter(kept_mib=0), a_segmenter()
    alone = [asked(forgetful, [content])[0] for content in contents]

    for batch in random_batches(6, size=4, seed=2):
        together = asked(segmenter, [contents[index] for index in batch])

        for index, answer in zip(batch, together, strict=True):
            assert_same(answer, alone[index])
    cached = [asked(segmenter, [content])[0] for content in contents]
    for own, answer in zip(alone, cached, strict=True):
        assert_same(answer, own)
        assert answer.signals == pytest.approx(own.signals, abs=1e-3)
    assert 0 < sum(encoder.passes) < 3 * 4 + 6


def test_the_encoder_runs_once_over_what_is_new_in_a_mixed_batch() -> None:
    segmenter, encoder = a_segmenter()
    asked(segmenter, [a_content(0)])
    batch = [a_content(1), a_content(0), a_content(2), a_content(1, a_click(30.0)), replace(a_content(0), digest=None)]

    answers = asked(segmenter, batch)

    forgetful, _ = a_segmenter(kept_mib=0)
    assert encoder.passes == [1, 3]  # images 1 and 2, and the one that nobody can know again
    for content, answer in zip(batch, answers, strict=True):
        assert_same(answer, asked(forgetful, [content])[0])


def test_a_click_that_was_prepared_before_the_first_was_computed_needs_no_encoder_either() -> None:
    segmenter, encoder = a_segmenter()
    first, second = (decode(a_content(0, a_click(x))) for x in (20.0, 60.0))
    [one, other] = segmenter.prepare([first, second])

    answers = [segmenter.read(segmenter.forward([own]), [payload]) for own, payload in ((one, first), (other, second))]

    assert encoder.passes == [1]
    assert answers == [predict(a_segmenter(kept_mib=0)[0], [payload]) for payload in (first, second)]


def test_an_image_that_is_forgotten_while_its_question_waits_is_answered_all_the_same() -> None:
    segmenter, encoder = a_segmenter()
    [wanted] = asked(segmenter, [a_content(0)])
    payload = payload_of(segmenter, a_content(0))
    samples = segmenter.prepare([payload])

    segmenter._features.clear()

    assert segmenter.read(segmenter.forward(samples), [payload]) == [wanted]
    assert encoder.passes == [1]


def test_only_the_last_images_are_kept_within_the_bytes_of_the_card() -> None:
    """The demo's features are so small that a mebibyte takes several."""
    segmenter, encoder = a_segmenter(kept_mib=1)
    asked(segmenter, [a_content(0)])
    room = 2**20 // segmenter._features.nbytes

    for number in range(1, room + 1):
        asked(segmenter, [a_content(number)])

    assert segmenter._features.nbytes <= 2**20
    assert (segmenter.recalled(a_content(0)), segmenter.recalled(a_content(room)) is None) == (None, False)
    assert encoder.passes == [1] * (room + 1)


def test_what_has_no_digest_is_not_kept() -> None:
    segmenter, encoder = a_segmenter()

    for _ in range(2):
        asked(segmenter, [replace(a_content(0), digest=None)])

    assert (segmenter._features.nbytes, encoder.passes) == (0, [1, 1])


def test_bytes_that_are_said_to_be_another_medium_are_not_recalled() -> None:
    segmenter, _ = a_segmenter()
    asked(segmenter, [a_content(0)])

    assert segmenter.recalled(replace(a_content(0), media="text")) is None


@pytest.mark.parametrize(
    "prompts", [Prompts(boxes=(BoxPrompt(xyxy=(900.0, 900.0, 950.0, 950.0)),)), a_click(x=9_999.0), a_click(y=-1.0)]
)
def test_an_impossible_prompt_on_a_known_image_is_refused(prompts: Prompts) -> None:
    segmenter, _ = a_segmenter()
    asked(segmenter, [a_content(0)])

    with pytest.raises(ItemError) as caught:
        segmenter.prepare([payload_of(segmenter, a_content(0, prompts))])

    assert caught.value.code == "invalid_prompt"


def test_an_answer_about_a_known_image_has_its_embedding() -> None:
    segmenter, _ = a_segmenter(embeddings=True)

    first, second = asked(segmenter, [a_content(0)])[0], asked(segmenter, [a_content(0)])[0]

    assert first.embedding is not None
    assert second.embedding == first.embedding


def test_a_full_memory_empties_what_is_kept() -> None:
    class Full(torch.nn.Module):
        def forward(self, squares: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    segmenter, _ = a_segmenter()
    asked(segmenter, [a_content(0)])
    segmenter._network.image_encoder = Full()

    with pytest.raises(torch.OutOfMemoryError):
        asked(segmenter, [a_content(1)])

    assert segmenter._features.nbytes == 0


def test_a_known_image_takes_less_of_a_batch() -> None:
    segmenter, _ = a_segmenter()
    [first] = segmenter.prepare([payload_of(segmenter, a_content(0))])
    segmenter.forward([first])

    [second] = segmenter.prepare([payload_of(segmenter, a_content(0))])

    assert isinstance(second.pixels, Features)
    assert 0.0 < second.cost < 0.2 * first.cost


def test_how_much_is_kept_is_no_part_of_what_a_model_is() -> None:
    card = demo_card("segmentation")

    assert replace(card, options=card.options | {"kept_features_mib": 7}).digest() == card.digest()
    assert replace(card, options=card.options | {"points_per_side": 7}).digest() != card.digest()


async def test_an_engine_decodes_and_encodes_an_image_once_however_many_click_on_it() -> None:
    segmenter, encoder = a_segmenter()
    decoded, clicks = list[str | None](), [a_content(0, a_click(x, y)) for x in (20, 35, 50) for y in (20, 35, 50)]

    def decode_once(content: Content) -> Payload:
        decoded.append(content.digest)
        return decode(content)

    engine = Engine(segmenter, decode=decode_once, limits=BatchLimits(max_items=4), cpu_threads=3)
    try:
        first = await engine.predict(clicks[0])
        answers = await asyncio.gather(*(engine.predict(click) for click in clicks))
    finally:
        await engine.close()

    forgetful, _ = a_segmenter(kept_mib=0)
    assert decoded == [clicks[0].digest]
    assert encoder.passes == [1]
    assert first.size_hw == answers[-1].size_hw == a_scene(0).image_rgb.shape[:2]
    for click, answer in zip(clicks, answers, strict=True):
        assert_same(answer, asked(forgetful, [click])[0])


@pytest.mark.parametrize(("priority", "passes"), [("interactive", [1]), ("bulk", [1, 1])])
async def test_a_drop_leaves_nothing_that_would_push_out_what_people_work_on(
    priority: Priority, passes: list[int]
) -> None:
    segmenter, encoder = a_segmenter()
    engine = Engine(segmenter, decode=decode, limits=BatchLimits())

    try:
        for _ in range(2):
            await engine.predict(a_content(0), priority=priority)
    finally:
        await engine.close()

    assert encoder.passes == passes


async def test_many_at_once_on_several_images_get_the_answers_about_their_own() -> None:
    """With room for two images of three, so that they push each other out while questions wait."""
    segmenter, encoder = a_segmenter()
    asked(segmenter, [a_content(0)])
    segmenter._features._max_bytes = 2 * segmenter._features.nbytes
    rng = np.random.default_rng(0)
    clicks = [a_content(int(rng.integers(3)), a_click(*rng.uniform(10, 60, 2))) for _ in range(40)]
    engine = Engine(segmenter, decode=decode, limits=BatchLimits(max_items=3), cpu_threads=4)

    try:
        answers = await asyncio.gather(*(engine.predict(click) for click in clicks))
    finally:
        await engine.close()

    forgetful, _ = a_segmenter(kept_mib=0)
    for click, answer in zip(clicks, answers, strict=True):
        assert_same(answer, asked(forgetful, [click])[0])
    assert sum(encoder.passes) < len(clicks)
