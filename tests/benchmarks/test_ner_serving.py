"""Checks what two arms of a NER comparison must agree on."""

from __future__ import annotations

import pytest

from benchmarks.ner_serving import Spans, agree

FOUND: Spans = frozenset({(0, 3, "person")})
MOVED: Spans = frozenset({(1, 3, "person")})


def test_arms_agree_where_their_entities_are_the_same() -> None:
    assert agree([FOUND] * 20, [FOUND] * 19 + [MOVED]) == 0.95


def test_an_arm_that_finds_something_else_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"only 50% of the texts .*1, 3, 'person'"):
        agree([FOUND, FOUND], [FOUND, MOVED])


def test_arms_that_find_nothing_prove_nothing() -> None:
    with pytest.raises(RuntimeError, match="nothing found"):
        agree([frozenset()] * 2, [frozenset()] * 2)
