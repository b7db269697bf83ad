"""Runs both arms of each comparison at a tiny size; a comparison refuses arms that do different work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from benchmarks.ratio import Ratio
from benchmarks.ratios import engine_over_bare, ner_bucketed, rle, service_over_bare, speech_batched
from benchmarks.ratios.arms import ArmsDiffer
from benchmarks.ratios.engine_over_bare import NotBalanced, balanced_side
from models.adapter import load
from models.card import BatchLimits, read_card
from tests.benchmarks.ratios.peers import a_service_that_answers

SMALL_BERT = ner_bucketed.Size(num_hidden_layers=1, hidden_size=32, num_attention_heads=2, intermediate_size=32)


def assert_measured(ratio: Ratio, *, rounds: int) -> None:
    assert len(ratio.rounds.ours) == len(ratio.rounds.peer) == rounds
    assert min(ratio.rounds.ours + ratio.rounds.peer) > 0
    assert "equal" in str(ratio.details["same"])


def test_both_arms_encode_the_same_masks() -> None:
    ratio = rle.compare(rle.masks(2, side=40), rounds=2)

    assert_measured(ratio, rounds=2)
    assert ratio.details["masks"] == 2


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
def test_the_plain_loop_makes_the_counts_of_pycocotools(share: float) -> None:
    bitmap = np.random.default_rng(1).random((37, 53)) < share

    counts = rle.compressed(rle.python_runs(bitmap))

    encoded = coco_mask.encode(np.asfortranarray(bitmap, dtype=np.uint8))
    assert counts == cast(bytes, encoded["counts"]).decode()


def test_masks_to_compare_are_neither_empty_nor_full_nor_alike() -> None:
    one, other = rle.masks(2, side=128)

    assert 0.1 < one.mean() < 0.6
    assert (one != other).any()


def test_both_arms_label_the_same_texts() -> None:
    ratio = ner_bucketed.compare(ner_bucketed.texts(6), size=SMALL_BERT, rounds=1)

    assert_measured(ratio, rounds=1)
    assert ratio.details["texts"] == 6


def test_texts_to_compare_are_of_mixed_lengths() -> None:
    words = [len(text.split()) for text in ner_bucketed.texts(200)]

    assert min(words) >= 3
    assert np.percentile(words, 90) > 5 * np.percentile(words, 10)


def test_both_arms_label_the_same_images() -> None:
    card = read_card(engine_over_bare.CARD)
    images = engine_over_bare.images(3, side=256)

    ratio = engine_over_bare.compare(load(card, Path(card.weights)), images, rounds=1, side=256)

    assert_measured(ratio, rounds=1)
    assert len({image.data for image in images}) == 3


def test_the_image_size_is_sought_until_decoding_costs_what_the_network_costs() -> None:
    asked = list[int]()

    def quotient(side: int) -> float:
        asked.append(side)
        return 0.3 + (side / 700) ** 2  # some of the cost does not grow with the pixels

    side = balanced_side(quotient)

    assert asked[0] != side == asked[-1]
    assert quotient(side) == pytest.approx(1.0, abs=0.15)


def test_an_image_size_that_balances_nothing_is_refused() -> None:
    with pytest.raises(NotBalanced, match=r"3\.00"):
        balanced_side(lambda side: 3.0)


def test_both_arms_hear_the_same_recordings() -> None:
    card = speech_batched.with_window(read_card(speech_batched.CARD), 30)

    ratio = speech_batched.compare(card, speech_batched.recordings(2, commands=1), rounds=1)

    assert_measured(ratio, rounds=1)
    assert "all" in str(ratio.details["same"])


def test_shorter_windows_may_change_a_word_in_thirty_and_no_more() -> None:
    peers = [["one", "two", "three"]] * 10
    one_other = [*peers[1:], ["one", "two", "tree"]]

    assert speech_batched.same_words(one_other, peers, 10).startswith("1 of 30 words differ")
    with pytest.raises(ArmsDiffer, match="too short"):
        speech_batched.same_words([*one_other[1:], ["one"]], peers, 10)
    with pytest.raises(ArmsDiffer, match="tree"):
        speech_batched.same_words(one_other, peers, 30)


def test_both_arms_hear_the_same_when_voices_pause() -> None:
    card = speech_batched.with_window(read_card(speech_batched.CARD), 30)

    ratio = speech_batched.compare(
        replace(card, limits=BatchLimits(max_items=2)), speech_batched.recordings(1, commands=3), rounds=1
    )

    assert_measured(ratio, rounds=1)


def test_the_service_and_the_loop_label_the_same_recordings() -> None:
    card = read_card(service_over_bare.CARD)
    adapter = load(card, Path(card.weights))
    contents = service_over_bare.recordings(2)

    with a_service_that_answers(adapter) as address:
        ratio = service_over_bare.compare(address, adapter, contents, rounds=1)

    assert_measured(ratio, rounds=1)
    assert ratio.details["items"] == 2


def test_a_service_that_hears_something_else_is_refused() -> None:
    card = read_card(service_over_bare.CARD)
    adapter = load(card, Path(card.weights))

    with a_service_that_answers(adapter, instead="lunch") as address, pytest.raises(ArmsDiffer, match="lunch"):
        service_over_bare.compare(address, adapter, service_over_bare.recordings(1), rounds=1)
