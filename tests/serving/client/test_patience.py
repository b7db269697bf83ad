"""Tests when a call is made again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import OverloadedError
from serving.client.patience import Patience
from serving.client.trouble import Trouble

PASSING = Trouble(error=OverloadedError(), is_passing=True)
UNDONE = Trouble(error=OverloadedError(), is_passing=True, is_undone=True)
LASTING = Trouble(error=OverloadedError(), is_undone=True)


def wait_s(trouble: Trouble = PASSING, **changed: float) -> float | None:
    given: dict[str, float] = {"attempt": 1, "is_repeatable": True, "left_s": 1e9, "draw": 0.5} | changed
    return Patience(attempts=5, first_wait_s=1.0, longest_wait_s=4.0, longest_asked_s=60.0).wait_s(trouble, **given)  # pyright: ignore[reportArgumentType]


@given(attempt=st.integers(1, 4), draw=st.floats(0, 1, exclude_max=True))
def test_a_wait_is_anywhere_below_a_bound_that_doubles(attempt: int, draw: float) -> None:
    assert wait_s(attempt=attempt, draw=draw) == min(4.0, 2.0 ** (attempt - 1)) * draw


def test_clients_that_were_refused_together_come_back_one_by_one() -> None:
    rng = np.random.default_rng(7)

    waits = [wait_s(attempt=3, draw=rng.random()) or 0.0 for _ in range(1_000)]

    per_tenth, _ = np.histogram(np.array(waits), bins=10, range=(0.0, 4.0))
    assert per_tenth.min() > 60  # an equal share is 100; without jitter nine of ten would be empty
    fixed, _ = np.histogram(np.full(1_000, wait_s(attempt=3)), bins=10, range=(0.0, 4.0))
    assert fixed.min() == 0  # the negative control


def test_what_the_service_asks_for_is_kept_to_but_not_for_ever() -> None:
    def asked(seconds: float) -> Trouble:
        return Trouble(error=OverloadedError(), is_passing=True, retry_after_s=seconds)

    assert wait_s(asked(7.0)) == 7.0
    assert wait_s(asked(86_400.0)) == 60.0
    assert wait_s(asked(0.1)) == 0.5  # the jitter is longer


@pytest.mark.parametrize("attempt", [5, 6])
def test_after_the_last_attempt_there_is_no_other(attempt: int) -> None:
    assert wait_s(attempt=attempt) is None
    assert wait_s(attempt=4) is not None


def test_a_wait_that_would_use_up_the_time_is_not_begun() -> None:
    assert wait_s(left_s=0.5) is None
    assert wait_s(left_s=0.51) == 0.5


def test_what_must_not_be_done_twice_is_repeated_only_if_it_was_not_begun() -> None:
    assert wait_s(PASSING, is_repeatable=False) is None
    assert wait_s(UNDONE, is_repeatable=False) == 0.5


def test_what_does_not_pass_is_not_waited_for() -> None:
    assert wait_s(LASTING) is None
