"""Tests which answers a policy may be held against as ones that it was not fitted to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from pipelines.policy.evidence import Judged
from pipelines.policy.simulation import fresh
from tests.pipelines.policy.builders import some_evidence

FITTED = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def judged() -> Judged:
    return some_evidence(1, rng=np.random.default_rng(0)).judged[0]


@pytest.mark.parametrize(("hours", "is_fresh"), [(-1, False), (0, False), (1, True)])
def test_an_answer_is_fresh_if_it_came_after_the_fit_whatever_pre_label_it_is_about(
    judged: Judged, hours: int, is_fresh: bool
) -> None:
    one = replace(judged, answered_at=FITTED + timedelta(hours=hours))

    assert [bool(fresh([one], FITTED, used=used)) for used in ([], [one.prelabel_id])] == [is_fresh, is_fresh]


def test_what_nobody_could_answer_is_fresh_if_the_fit_stands_on_none_of_its_pre_labels(judged: Judged) -> None:
    nobody = replace(judged, answer=None, answered_at=None, prelabel_id=7, answered_for=5)

    assert [bool(fresh([nobody], FITTED, used=used)) for used in ([5], [7], [6])] == [False, False, True]
