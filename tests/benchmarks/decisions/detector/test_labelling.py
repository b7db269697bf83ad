"""Checks that scenes are labelled as the product labels items, and judged by what was drawn."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.decisions.detector.labelling import TASK, LabelledScenes, labelled
from benchmarks.decisions.detector.measurement import FULL
from benchmarks.decisions.detector.scenes import FIRST_SEED, PARTS, Drawings, drawn, items
from models.adapter import load
from models.card import read_card
from models.demo import drop
from models.demo.scenes import HELD_OUT_SEEDS, scene
from models.demo.train import WEIGHTS
from models.types import ImagePayload
from pipelines.corrections.acceptable import ACCEPTABLE, loss


@pytest.fixture(scope="module")
def found() -> LabelledScenes:
    return labelled(items(3), progress=lambda line: None)


def test_scenes_are_labelled_in_order_with_their_part_and_their_truth(found: LabelledScenes) -> None:
    assert [one.item for one in found.scenes] == items(3)
    assert [one.part for one in found.scenes] == [part for part in PARTS for _ in range(3)]
    for one, seed in zip(found.scenes, [*range(FIRST_SEED, FIRST_SEED + 3)] * 3, strict=True):
        true = scene(seed, next(part for part in PARTS if part == one.part))
        assert tuple(box.label for box in one.truth) == true.labels
        assert one.loss == loss(TASK, one.pre_label.prediction.annotations, one.truth, ACCEPTABLE[TASK])


def test_the_engine_says_what_the_detector_says_alone(found: LabelledScenes) -> None:
    card = read_card(WEIGHTS / TASK / "card.yaml")
    adapter = load(card, Path(card.weights))
    one = found.scenes[0]
    payloads = [ImagePayload(image_rgb=scene(FIRST_SEED, "easy").image_rgb)]

    alone = adapter.read(adapter.forward(adapter.prepare(payloads)), payloads)[0]

    ours = one.pre_label.prediction
    assert len(ours.annotations) > 0
    assert [box.label for box in ours.annotations] == [box.label for box in alone.annotations]
    assert [box.score for box in ours.annotations] == pytest.approx([box.score for box in alone.annotations], abs=1e-4)
    assert ours.signals["no_miss"] == pytest.approx(alone.signals["no_miss"], abs=1e-4)


def test_certificates_could_be_given_for_these_pre_labels(found: LabelledScenes) -> None:
    made = [one.pre_label.provenance for one in found.scenes]

    assert all(
        found.conditions.broken_by(one.item, one.pre_label.provenance, source=None) is None for one in found.scenes
    )
    assert len({one.item_digest for one in made}) == len(made)


async def test_a_scene_is_what_is_fetched_for_its_item() -> None:
    item = items(1)[1]
    with ThreadPoolExecutor(1) as executor:
        drawings = Drawings(executor)

        content = await drawings.fetch(item)

    assert content.data == drawn("hard", FIRST_SEED)[0]
    assert len(drawings.truths[item.id]) == len(scene(FIRST_SEED, "hard").labels)


def test_no_scene_was_trained_on_or_measured_before() -> None:
    seeds = range(FIRST_SEED, FIRST_SEED + FULL.of_part)

    assert seeds.start in HELD_OUT_SEEDS
    assert seeds.stop - 1 in HELD_OUT_SEEDS
    assert seeds.start >= HELD_OUT_SEEDS.start + 100_000
    assert seeds.start > drop._FIRST_SCENE + 1_000
