"""Checks the core-set against scikit-activeml's, and on a line where every answer is plain."""

from __future__ import annotations

import numpy as np
import pytest
from skactiveml.pool import CoreSet

from pipelines.sampling import select


@pytest.mark.parametrize("seed", range(5))
def test_the_picks_are_those_of_scikit_activeml(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(200, 6))
    labelled = rng.choice(200, size=8, replace=False)
    labels = np.full(200, np.nan)
    labels[labelled] = 0.0

    chosen = select(
        *([str(index) for index in range(200)], points, None, [str(index) for index in labelled], 25),
        strategy="k_center",
        explore=0.0,
        rng=rng,
    )

    oracle = CoreSet(random_state=0)
    wanted, utilities = oracle.query(points, labels, batch_size=25, return_utilities=True)
    assert [int(one.id) for one in chosen] == wanted.tolist()
    np.testing.assert_allclose([one.utility for one in chosen], np.nanmax(utilities, axis=1), rtol=1e-6)


def test_the_farthest_of_a_line_comes_first_and_says_how_far() -> None:
    points = np.array([[0.0], [1.0], [5.0], [9.0]])

    first, second, third = select(
        *(["a", "b", "c", "d"], points, None, ["a"], 3), strategy="k_center", explore=0.0, rng=np.random.default_rng(0)
    )

    assert [first.id, second.id, third.id] == ["d", "c", "b"]
    assert first.utility == 9.0
    assert first.reason == "k_center: 9 away from all that is labelled or chosen, the farthest of 3 items"


def test_where_nothing_is_labelled_the_first_is_drawn() -> None:
    points = np.array([[0.0], [1.0], [5.0], [9.0]])

    firsts = {
        select(*(list("abcd"), points, None, [], 2), strategy="k_center", explore=0.0, rng=np.random.default_rng(seed))[
            0
        ].id
        for seed in range(30)
    }

    assert firsts == {"a", "b", "c", "d"}
