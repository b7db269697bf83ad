"""Tests that annotators tell the truth but for the errors they are said to make."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.active_loop import detection, ner
from benchmarks.active_loop.annotators import Annotators
from benchmarks.active_loop.subject import Subject
from pipelines.corrections.acceptable import loss


def annotators(subject: Subject, error_rate: float, *, seed: int = 0) -> Annotators:
    return Annotators(subject=subject, examples={}, error_rate=error_rate, seed=seed)


@pytest.mark.parametrize("error_rate", [0.0, 0.02, 0.3])
def test_the_share_of_wrong_answers_is_what_it_says(error_rate: float) -> None:
    subject = ner.subject()
    people = annotators(subject, error_rate)
    examples = [one for one in subject.drop(1_000, "texts", np.random.default_rng(1)) if one.truth]

    losses = [loss("ner", people.answer(one), one.truth, subject.acceptable) for one in examples]

    three_errors = 3 * math.sqrt(error_rate * (1 - error_rate) / len(examples))
    assert np.mean(losses) == pytest.approx(error_rate, abs=three_errors)
    assert sum(losses) == people.wrong


def test_a_wrong_answer_about_an_image_is_wrong_by_what_is_acceptable() -> None:
    subject = detection.subject()
    people = annotators(subject, 1.0)
    examples = [one for one in detection.draw("easy", 20, "images", np.random.default_rng(2)) if one.truth]

    losses = [loss("detection", people.answer(one), one.truth, subject.acceptable) for one in examples]

    assert losses == [1.0] * len(examples)


def test_where_nothing_is_there_nothing_is_got_wrong() -> None:
    people = annotators(ner.subject(), 1.0)
    [example] = ner.draw("easy", 1, "text", np.random.default_rng(0))

    assert people.answer(replace(example, truth=())) == () and people.wrong == 0


def test_an_item_gets_the_same_answer_whenever_it_is_asked_about() -> None:
    subject = ner.subject()
    examples = subject.drop(50, "texts", np.random.default_rng(1))

    forwards = [annotators(subject, 0.5).answer(one) for one in examples]
    backwards = [annotators(subject, 0.5).answer(one) for one in reversed(examples)]

    assert forwards == backwards[::-1]
    assert forwards != [annotators(subject, 0.5, seed=1).answer(one) for one in examples]
