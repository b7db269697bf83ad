"""Checks that two arms only count as equal when they found the same."""

from __future__ import annotations

import pytest

from benchmarks.ratios.arms import ArmsDiffer, check_alike, check_equal
from models.types import Annotation, Prediction, WholeItem


def a_prediction(*labels: str, score: float = 0.9) -> Prediction:
    found = (Annotation(id=str(i), label=label, geometry=WholeItem(), score=score) for i, label in enumerate(labels))
    return Prediction(annotations=tuple(found), signals={})


def test_predictions_with_the_same_labels_are_counted() -> None:
    ours = [a_prediction("a", "b"), a_prediction()]

    assert check_alike(ours, [a_prediction("a", "b", score=0.9005), a_prediction()]) == 2


@pytest.mark.parametrize("other", [a_prediction("b"), a_prediction("a", "a"), a_prediction("a", score=0.902)])
def test_predictions_with_other_labels_or_scores_are_refused(other: Prediction) -> None:
    with pytest.raises(ArmsDiffer, match="item 1"):
        check_alike([a_prediction("a"), a_prediction("a")], [a_prediction("a"), other])


def test_things_that_differ_in_one_item_are_refused() -> None:
    with pytest.raises(ArmsDiffer, match=r"words of item 1 are \['b'\]"):
        check_equal([["a"], ["b"]], [["a"], ["c"]], what="words")


def test_arms_that_found_nothing_prove_nothing() -> None:
    with pytest.raises(ArmsDiffer, match="any words"):
        check_equal([[], []], [[], []], what="words")
    with pytest.raises(ArmsDiffer, match="found anything"):
        check_alike([a_prediction()], [a_prediction()])


def test_arms_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        check_equal([["a"], ["b"]], [["a"]], what="words")
