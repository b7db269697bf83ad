"""Tests that drops are mixtures, and that lessons hold what humans said."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from benchmarks.active_loop import detection, ner
from benchmarks.active_loop.subject import Lesson
from models.demo.scenes import LABELS
from models.types import TextSpan


def test_a_drop_is_a_mixture_of_items_with_ids_of_their_own() -> None:
    drop = ner.subject().drop(1_000, "drop-1", np.random.default_rng(0))

    counts = Counter(one.part for one in drop)
    assert len({one.id for one in drop}) == len(drop) == 1_000
    assert counts["easy"] == pytest.approx(600, abs=50) and counts["hard"] == pytest.approx(200, abs=40)


def test_the_same_seed_gives_the_same_drop() -> None:
    drops = [ner.subject().drop(20, "drop", np.random.default_rng(3)) for _ in range(2)]

    assert drops[0] == drops[1]


def test_only_shapes_with_a_class_are_objects() -> None:
    scenes = detection.draw("out_of_domain", 30, "scene", np.random.default_rng(0))

    labels = {one.label for scene in scenes for one in scene.truth}
    assert labels <= set(LABELS)
    assert all(isinstance(scene.content, bytes) and scene.size_hw for scene in scenes)


def test_a_lesson_is_the_humans_answer_and_not_the_truth() -> None:
    [example] = ner.draw("easy", 1, "text", np.random.default_rng(0))

    learnt = ner.sentence(Lesson(content=example.content, answer=example.truth[1:]))

    wanted = [(one.geometry.start, one.label) for one in example.truth[1:] if isinstance(one.geometry, TextSpan)]
    assert [(span.start, span.label) for span in learnt.spans] == wanted
