"""Tests that labels and ids become names that a format can hold, each its own."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.formats.label_names import label_names, plain_id

SPACE = re.compile(r"\s")


def test_a_label_that_needs_no_change_keeps_its_name_even_if_another_becomes_like_it() -> None:
    left_out = Counter[str]()

    names = label_names(["", "a b", "a_b", "a_b_2", "c"], left_out, forbidden=SPACE)

    assert names == {"": "_", "a b": "a_b_3", "a_b": "a_b", "a_b_2": "a_b_2", "c": "c"}
    assert left_out == {"labels that were given another name": 2}


@given(st.lists(st.text("ab _2\n", max_size=7), unique=True, max_size=30), st.integers(4, 8))
def test_different_labels_have_different_names_without_what_is_forbidden(labels: list[str], longest: int) -> None:
    names = label_names(labels, Counter(), forbidden=SPACE, longest=longest)

    assert list(names) == labels
    assert len(set(names.values())) == len(labels)
    assert all(0 < len(name) <= longest and not SPACE.search(name) for name in names.values())


@pytest.mark.parametrize(
    ("item_id", "plain"), [("ü/a b.txt", "ü/a b.txt"), ("caf\udce9", "caf\\udce9"), ("a\0", "a\\x00")]
)
def test_an_id_is_spelled_without_what_no_database_takes(item_id: str, plain: str) -> None:
    assert plain_id(item_id) == plain
