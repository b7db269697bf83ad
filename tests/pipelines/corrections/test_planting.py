"""Tests that a planted error makes a pre-label wrong, and that nothing but the error tells it from others."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.types import Annotation, Box, Mask, Task, TextSpan
from pipelines.answer import problems
from pipelines.corrections.acceptable import ACCEPTABLE, Acceptable, loss
from pipelines.corrections.errors import ERRORS
from pipelines.corrections.planting import planted
from tests.pipelines.corrections.builders import a_box, a_mask, a_rectangle, a_segment, heard, one

TASKS: tuple[Task, ...] = get_args(Task)
TEXT = "Ada Varga moved to Lisbon on 3 May 2021"


def _chain() -> list[Annotation]:
    """Three boxes and their masks, as a chain gives them."""
    boxes = [
        one(Box(xyxy=(x, 0, x + 8, 20)), label, id=str(n))
        for n, (x, label) in enumerate(zip((0, 12, 26), "aba", strict=True))
    ]
    masks = [
        one(
            a_rectangle((int(box.geometry.xyxy[0]), int(box.geometry.xyxy[2]))),
            box.label,
            id=f"m{box.id}",
            parent=box.id,
        )
        for box in boxes
        if isinstance(box.geometry, Box)
    ]
    return boxes + masks


def _speech() -> list[Annotation]:
    segment = replace(a_segment("one two three four five", 0, 3), attributes={"language": "en"})
    return [segment, *(replace(word, id=f"0.{word.id}", parent_id="0") for word in heard("one two three four five"))]


RIGHT: dict[Task, list[Annotation]] = {
    "detection": [a_box(20, id="0"), a_box(60, "dog", id="1"), a_box(90, id="2")],
    "segmentation": _chain(),
    "ner": [
        one(TextSpan(start=0, end=9), "person", id="0", text=TEXT[0:9]),
        one(TextSpan(start=19, end=25), "place", id="1", text=TEXT[19:25]),
    ],
    "speech": _speech(),
}
SIZES: dict[Task, tuple[int, int]] = {"detection": (100, 120), "segmentation": (20, 40)}


@pytest.mark.parametrize("task", TASKS)
@given(seed=st.integers(0, 2**32 - 1))
def test_what_is_planted_is_wrong_and_possible_and_inside_the_picture(task: Task, seed: int) -> None:
    right, rng = RIGHT[task], np.random.default_rng(seed)

    wrong = planted(task, right, right, acceptable=ACCEPTABLE[task], labels=["bird"], rng=rng, size_hw=SIZES.get(task))

    assert wrong is not None
    assert wrong.error in ERRORS[task]
    assert loss(task, wrong.annotations, right, ACCEPTABLE[task]) == 1.0
    assert problems(task, wrong.annotations) == []
    for box in (a.geometry for a in wrong.annotations if isinstance(a.geometry, Box)):
        assert 0 <= box.xyxy[0] < box.xyxy[2] <= SIZES[task][1]


@pytest.mark.parametrize("task", TASKS)
@given(seed=st.integers(0, 2**32 - 1))
def test_its_ids_are_numbered_as_a_models_are(task: Task, seed: int) -> None:
    right, rng = RIGHT[task], np.random.default_rng(seed)

    wrong = planted(task, right, right, acceptable=ACCEPTABLE[task], labels=["bird"], rng=rng, size_hw=SIZES.get(task))

    assert wrong is not None
    for kind in {a.geometry.kind for a in wrong.annotations}:
        ids = [a.id for a in wrong.annotations if a.geometry.kind == kind and "." not in a.id]
        stem = "m" if kind == "mask" else ""
        assert ids == [f"{stem}{n}" for n in range(len(ids))]
    for mask in (a for a in wrong.annotations if isinstance(a.geometry, Mask)):
        assert mask.parent_id == re.sub("m", "", mask.id)
    words = [a.id for a in wrong.annotations if "." in a.id]
    assert words == [f"0.{n}" for n in range(len(words))]


@pytest.mark.parametrize("task", TASKS)
def test_every_type_of_error_comes_up(task: Task) -> None:
    rng, right = np.random.default_rng(0), RIGHT[task]

    found = Counter(
        wrong.error
        for _ in range(60)
        if (wrong := planted(task, right, right, acceptable=ACCEPTABLE[task], labels=["bird"], rng=rng))
    )

    assert len(found) == {"detection": 4, "segmentation": 4, "ner": 3, "speech": 2}[task]
    assert found.total() == 60


def test_one_seed_gives_one_error() -> None:
    def plant(seed: int) -> object:
        rng = np.random.default_rng(seed)
        return planted("detection", RIGHT["detection"], RIGHT["detection"], acceptable=Acceptable(), labels=[], rng=rng)

    assert plant(3) == plant(3)
    assert len({repr(plant(seed)) for seed in range(20)}) > 1


def test_scores_stay() -> None:
    rng = np.random.default_rng(0)

    for _ in range(20):
        wrong = planted(
            "detection", RIGHT["detection"], RIGHT["detection"], acceptable=Acceptable(), labels=[], rng=rng
        )
        assert wrong is not None
        assert {a.score for a in wrong.annotations} <= {0.75}


def test_a_lenient_word_error_rate_takes_more_words() -> None:
    right = [a_segment("one two three four five six seven eight nine ten")]
    acceptable = Acceptable(wer=0.25)

    wrong = planted("speech", right, right, acceptable=acceptable, labels=[], rng=np.random.default_rng(1))

    assert wrong is not None
    assert loss("speech", wrong.annotations, right, acceptable) == 1.0


@pytest.mark.parametrize("task", TASKS)
def test_where_there_is_nothing_no_error_can_be_made(task: Task) -> None:
    assert planted(task, [], [], acceptable=ACCEPTABLE[task], labels=["a"], rng=np.random.default_rng(0)) is None


def test_an_object_that_fills_the_picture_is_not_moved_out_of_it() -> None:
    right, rng = [a_mask((0, 40))], np.random.default_rng(0)

    for _ in range(20):
        wrong = planted(
            "segmentation", right, right, acceptable=ACCEPTABLE["segmentation"], labels=[], rng=rng, size_hw=(20, 40)
        )
        assert wrong is not None
        assert wrong.error == "missed"
