"""Tests that what is accepted is held against the truth, not against what annotators say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.active_loop import ner
from benchmarks.active_loop.subject import SOURCE, Example
from benchmarks.active_loop.truth import ALL, Accepted, accepted, quality
from models.types import Annotation, Prediction
from pipelines.types import Labelled, Route
from tests.pipelines.policy.builders import a_policy, a_pre_label, an_item

SUBJECT = ner.subject()


def said(example: Example, annotations: tuple[Annotation, ...], route: Route = "accept") -> Labelled:
    item = replace(an_item(example.id), meta={SOURCE: example.part})
    pre_label = replace(a_pre_label(0.9), prediction=Prediction(annotations=annotations))
    decision = replace(a_policy().decide(item, "ner", pre_label), route=route)
    return Labelled(item=item, task="ner", pre_label=pre_label, decision=decision)


@pytest.fixture
def examples() -> dict[str, Example]:
    drawn = [
        *ner.draw("easy", 3, "easy", np.random.default_rng(0)),
        *ner.draw("hard", 1, "hard", np.random.default_rng(1)),
    ]
    assert all(one.truth for one in drawn)
    return {one.id: one for one in drawn}


def test_what_is_accepted_and_wrong_is_a_share_of_all_items(examples: dict[str, Example]) -> None:
    first, second, third, hard = examples.values()
    outcomes = [
        said(first, first.truth),
        said(second, (), "audit"),
        said(third, (), "review"),
        said(hard, hard.truth[1:]),
    ]

    found = accepted(outcomes, examples, SUBJECT)

    assert found == {
        ALL: Accepted(items=4, accepted=3, wrong=2),
        "easy": Accepted(items=3, accepted=2, wrong=1),
        "hard": Accepted(items=1, accepted=1, wrong=1),
    }
    assert (found[ALL].coverage, found[ALL].dataset_error) == (0.75, 0.5)


def test_other_rules_can_be_asked_what_they_would_accept(examples: dict[str, Example]) -> None:
    outcomes = [said(one, (), "review") for one in examples.values()]

    found = accepted(outcomes, examples, SUBJECT, accepts=lambda _: True)

    assert found[ALL] == Accepted(items=4, accepted=4, wrong=4)


def test_quality_is_the_f1_of_spans_by_part_and_of_all(examples: dict[str, Example]) -> None:
    easy = [one for one in examples.values() if one.part == "easy"]
    outcomes = [said(one, one.truth if one.part == "easy" else ()) for one in examples.values()]

    found = quality(outcomes, examples, SUBJECT)

    right, total = sum(len(one.truth) for one in easy), sum(len(one.truth) for one in examples.values())
    assert found == {"easy": 1.0, "hard": 0.0, ALL: pytest.approx(2 * right / (right + total))}
