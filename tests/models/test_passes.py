"""Checks that passes hold every input once, within their limits, and pad little."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.passes import PassLimits, cut

LENGTHS = st.lists(st.integers(1, 512), max_size=60)
LIMITS = st.builds(
    PassLimits, most_tokens=st.integers(1, 4096), pass_tokens=st.integers(0, 512), multiple=st.sampled_from((1, 8))
)


@given(lengths=LENGTHS, limits=LIMITS)
def test_every_input_is_in_one_pass_that_is_long_enough(lengths: list[int], limits: PassLimits) -> None:
    passes = cut(lengths, limits)

    assert sorted(index for own in passes for index in own.indices) == list(range(len(lengths)))
    assert all(lengths[index] <= own.length for own in passes for index in own.indices)


@given(lengths=LENGTHS, limits=LIMITS)
def test_no_pass_of_several_is_larger_than_it_may_be(lengths: list[int], limits: PassLimits) -> None:
    for own in cut(lengths, limits):
        assert own.tokens <= limits.most_tokens or len(own.indices) == 1


@given(lengths=LENGTHS, limits=LIMITS)
def test_padding_costs_no_more_than_a_pass_of_its_own(lengths: list[int], limits: PassLimits) -> None:
    for own in cut(lengths, limits):
        padding = own.tokens - sum(lengths[index] for index in own.indices)
        assert padding <= limits.pass_tokens or len(own.indices) == 1


@pytest.mark.parametrize("multiple", [1, 8])
def test_a_length_is_rounded_up_to_the_multiple(multiple: int) -> None:
    [own] = cut([9], PassLimits(most_tokens=64, pass_tokens=0, multiple=multiple))

    assert own.length == (9 if multiple == 1 else 16)


def test_inputs_of_one_length_share_a_pass() -> None:
    [own] = cut([7] * 5, PassLimits(most_tokens=100, pass_tokens=0))

    assert own.tokens == 35


def test_a_long_input_does_not_pad_the_short_ones() -> None:
    passes = cut([400, *[10] * 30], PassLimits(most_tokens=4096, pass_tokens=64))

    assert sum(own.tokens for own in passes) == 400 + 300
