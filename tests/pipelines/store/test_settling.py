"""Tests which of several answers count, by what they are and not by when they arrive."""

from __future__ import annotations

from datetime import datetime
from itertools import permutations

import pytest

from pipelines.store.answer_versions import AnswerVersion
from pipelines.store.settling import Chosen, chosen
from tests.pipelines.platform import at


def a_version(key: str, *, created_at: datetime, was_shown: bool = True, is_withdrawn: bool = False) -> AnswerVersion:
    return AnswerVersion(
        id=1,
        key=key,
        updated_at=at(60),
        is_withdrawn=is_withdrawn,
        digest=key,
        prelabel_id=1,
        created_at=created_at,
        reviewer="eve",
        annotations=[],
        seconds=None,
        was_shown=was_shown,
    )


SHOWN, BLIND = a_version("shown", created_at=at(1)), a_version("blind", created_at=at(2), was_shown=False)
LATER, TWIN = a_version("later", created_at=at(3)), a_version("a twin", created_at=at(1))
WITHDRAWN = a_version("withdrawn", created_at=at(0), is_withdrawn=True)


@pytest.mark.parametrize(
    ("is_asked", "must_be_blind", "asked", "volunteered"),
    [(True, False, TWIN, None), (True, True, BLIND, TWIN), (False, False, None, TWIN)],
)
def test_the_first_that_fits_answers_and_what_does_not_fit_is_volunteered(
    is_asked: bool, must_be_blind: bool, asked: AnswerVersion | None, volunteered: AnswerVersion | None
) -> None:
    for answers in permutations([SHOWN, BLIND, LATER, TWIN, WITHDRAWN]):
        found = chosen(answers, is_asked=is_asked, must_be_blind=must_be_blind)

        assert found == Chosen(asked=asked, volunteered=volunteered)


def test_without_an_answer_that_stands_nothing_counts() -> None:
    found = chosen([WITHDRAWN], is_asked=True, must_be_blind=False)

    assert found == Chosen(asked=None, volunteered=None)
