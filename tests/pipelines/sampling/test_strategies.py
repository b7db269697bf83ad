"""Checks what each strategy looks for, on pools where that is plain to see."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from pipelines.sampling import Selected, select
from pipelines.sampling.distances import nearest, to_one
from pipelines.sampling.subsample import subsample


def choose(count: int, budget: int, strategy: Any, **changes: Any) -> list[Selected]:
    asked: dict[str, Any] = {"embeddings": None, "uncertainty": None, "labelled": ()}
    asked |= {"explore": 0.0, "rng": np.random.default_rng(0)} | changes
    embeddings, uncertainty, labelled = (asked.pop(name) for name in ("embeddings", "uncertainty", "labelled"))
    ids = [str(index) for index in range(count)]
    return select(ids, embeddings, uncertainty, labelled, budget, strategy=strategy, **asked)


def chosen_ids(chosen: list[Selected]) -> list[int]:
    return [int(one.id) for one in chosen]


def test_each_uncertainty_is_looked_up_by_its_name() -> None:
    values = {name: np.roll(np.array([0.9, 0.5, 0.1, 0.0]), shift) for shift, name in enumerate(
        ("least_confidence", "margin", "entropy_max")
    )}  # fmt: skip

    first = {name: choose(4, 2, name, uncertainty=values) for name in ("least_confidence", "margin", "entropy")}

    assert {name: chosen_ids(chosen) for name, chosen in first.items()} == {
        "least_confidence": [0, 1],
        "margin": [1, 2],
        "entropy": [2, 3],
    }
    assert first["margin"][1].reason == "margin: uncertainty 0.500, rank 2 of 4 open items"


def test_equal_uncertainties_are_told_apart_by_chance_alone() -> None:
    counts = Counter(
        item
        for seed in range(200)
        for item in chosen_ids(choose(4, 2, "margin", uncertainty=np.ones(4), rng=np.random.default_rng(seed)))
    )

    assert min(counts[item] for item in range(4)) > 60


def test_twins_of_one_uncertain_item_are_chosen_once() -> None:
    rng = np.random.default_rng(0)
    twins = np.repeat(rng.normal(size=(4, 3)), 10, axis=0)
    others = rng.normal(size=(60, 3)) + 5.0
    values = np.concatenate([np.full(40, 0.9), np.full(60, 0.2)])

    points = np.concatenate([twins, others])

    def different(strategy: str, seed: int) -> set[int]:
        rng = np.random.default_rng(seed)
        return {
            index // 10
            for index in chosen_ids(choose(100, 4, strategy, embeddings=points, uncertainty=values, rng=rng))
        }

    assert all(different("hybrid", seed) == {0, 1, 2, 3} for seed in range(20))
    assert sum(different("margin", seed) == {0, 1, 2, 3} for seed in range(20)) < 10


def test_a_model_with_few_labels_or_no_uncertainty_begins_with_typical_items() -> None:
    rng = np.random.default_rng(0)
    points, values = rng.normal(size=(80, 2)), rng.random(80)
    labelled = [str(index) for index in range(10)]

    young = choose(80, 5, "hybrid", embeddings=points, uncertainty=values, labelled=labelled, classes=6)
    unsure = choose(80, 5, "hybrid", embeddings=points, labelled=labelled)
    grown = choose(80, 5, "hybrid", embeddings=points, uncertainty=values, labelled=labelled, classes=5)

    assert {one.reason.partition(":")[0] for one in (*young, *unsure)} == {"typiclust"}
    assert {one.reason.partition(":")[0] for one in grown} == {"hybrid"}


def test_typical_items_come_from_the_middle_of_the_clusters_that_hold_no_label() -> None:
    rng = np.random.default_rng(0)
    centres = np.array([[0.0, 0.0], [20.0, 0.0], [0.0, 20.0]])
    points = np.concatenate([rng.normal(size=(30, 2)) + centre for centre in centres])

    chosen = chosen_ids(choose(90, 2, "typiclust", embeddings=points, labelled=["0"]))

    assert sorted(index // 30 for index in chosen) == [1, 2]
    for index in chosen:
        others = np.linalg.norm(points[30 * (index // 30) : 30 * (index // 30) + 30] - centres[index // 30], axis=1)
        assert np.linalg.norm(points[index] - centres[index // 30]) <= np.median(others)


def test_slices_get_as_much_as_each_other_as_far_as_they_go() -> None:
    groups = ["large"] * 80 + ["small"] * 15 + ["tiny"] * 2
    values = np.linspace(0.0, 1.0, 97)

    chosen = choose(97, 22, "stratified", groups=groups, uncertainty=values)

    assert Counter(groups[int(one.id)] for one in chosen) == {"large": 10, "small": 10, "tiny": 2}
    assert {int(one.id) for one in chosen if groups[int(one.id)] == "large"} == set(range(70, 80))
    assert "from slice 'large' with 80 open items by margin" in chosen[0].reason or len(chosen) == 22


def test_what_is_uncertain_for_its_cost_comes_first_and_what_does_not_fit_is_left_out() -> None:
    values, cost = np.array([0.9, 0.8, 0.5, 0.1]), np.array([90.0, 10.0, 5.0, 20.0])

    order = chosen_ids(choose(4, 4, "cost_aware", uncertainty=values, cost=cost))
    within = choose(4, 4, "cost_aware", uncertainty=values, cost=cost, most_cost=36.0)

    assert order == [2, 1, 0, 3]
    assert chosen_ids(within) == [2, 1, 3]
    assert within[0].reason == "cost_aware: margin 0.1 for each unit of cost (0.500 for 5), rank 1 of 4 open items"


def test_distances_between_twins_are_exact() -> None:
    points = np.full((3, 4), 1e4)
    points[1, 0] += 1e-5

    np.testing.assert_allclose(nearest(points[:2], points[2:]), [0.0, 1e-5], rtol=1e-6, atol=0.0)
    np.testing.assert_allclose(to_one(points, points[1]), [1e-5, 0.0, 1e-5], rtol=1e-6, atol=0.0)
    assert nearest(points, np.empty((0, 4))).tolist() == [np.inf] * 3


def test_a_large_pool_is_looked_at_in_part() -> None:
    rng = np.random.default_rng(0)

    assert len(subsample(np.arange(20_000), budget=1, rng=rng)) == 20_000
    assert len(subsample(np.arange(90_000), budget=500, rng=rng)) == 25_000
    part = subsample(np.arange(90_000), budget=5_000, rng=rng)
    assert len(set(part.tolist())) == 50_000
    assert (np.diff(part) > 0).all()
