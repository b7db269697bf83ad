"""Checks that the text generator marks what it wrote and keeps its evaluation names out of training."""

from __future__ import annotations

import numpy as np
import pytest

from models.demo.evaluate_language import auroc, normalised
from models.demo.sentences import LABELS, PARTS, Part, Sentence, a_training_text, held_out_texts


def training_texts(count: int) -> list[Sentence]:
    rng = np.random.default_rng(1)
    return [a_training_text(rng) for _ in range(count)]


def names(sentences: list[Sentence], *, label: str) -> set[str]:
    return {s.text[span.start : span.end] for s in sentences for span in s.spans if span.label == label}


@pytest.mark.parametrize("part", PARTS)
def test_marked_spans_are_ordered_trimmed_and_inside_the_text(part: Part) -> None:
    for sentence in held_out_texts(part, n=200, seed=3):
        end = 0
        for span in sentence.spans:
            marked = sentence.text[span.start : span.end]
            assert end <= span.start < span.end <= len(sentence.text)
            assert marked == marked.strip() != ""
            assert span.label in LABELS
            end = span.end


@pytest.mark.parametrize("label", ["person", "place", "organisation"])
def test_no_name_of_an_evaluation_text_occurs_in_training(label: str) -> None:
    trained = names(training_texts(3_000), label=label)

    evaluated = names(list(held_out_texts("easy", n=500, seed=3)), label=label)

    assert len(evaluated) > 200
    assert evaluated.isdisjoint(trained)


def test_the_same_seed_gives_the_same_texts() -> None:
    assert list(held_out_texts("hard", n=20, seed=4)) == list(held_out_texts("hard", n=20, seed=4))
    assert list(held_out_texts("hard", n=20, seed=4)) != list(held_out_texts("hard", n=20, seed=5))


def test_texts_are_compared_in_lower_case_without_punctuation() -> None:
    assert normalised("  Turn LEFT, then — stop!  ") == "turn left then stop"


def test_a_perfect_score_ranks_right_above_wrong_and_a_constant_one_does_not() -> None:
    is_right = np.array([True, True, False])

    assert auroc(np.array([0.9, 0.8, 0.1]), is_right) == 1.0
    assert auroc(np.array([0.5, 0.5, 0.5]), is_right) == 0.5
