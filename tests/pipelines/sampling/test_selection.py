"""Checks what every strategy promises: budget, no labelled item, radius, quotas, cost, one answer for a seed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from pipelines.errors import InvalidRequestError
from pipelines.sampling import STRATEGIES, Selected, Strategy, select
from tests.pipelines.sampling.builders import distance, some_items

STRATEGY = st.sampled_from(list(STRATEGIES))
POOL = {
    "count": st.integers(8, 60),
    "labelled": st.integers(0, 6),
    "strategy": STRATEGY,
    "budget": st.integers(0, 30),
    "explore": st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    "seed": st.integers(0, 1_000),
}


@settings(max_examples=120)
@given(**POOL)
def test_the_budget_is_used_up_by_items_that_are_unlabelled_and_differ(
    count: int, labelled: int, strategy: Strategy, budget: int, explore: float, seed: int
) -> None:
    items = some_items(count, labelled=labelled, seed=seed)

    chosen = items.select(budget, strategy=strategy, explore=explore, seed=seed)

    ids = [one.id for one in chosen]
    assert len(ids) == len(set(ids)) == min(budget, count - labelled)
    assert not set(ids) & set(items.labelled)
    assert set(ids) <= set(items.ids)
    for one in chosen:
        assert np.isfinite(one.utility)
        assert one.reason.count("\n") == 0
        assert any(sign.isdigit() for sign in one.reason)  # its figures


@settings(max_examples=80)
@given(**POOL, radius=st.sampled_from([0.01, 0.5, 1.0, 3.0]))
def test_what_a_strategy_chooses_keeps_its_distance(
    count: int, labelled: int, strategy: Strategy, budget: int, explore: float, seed: int, radius: float
) -> None:
    items = some_items(count, labelled=labelled, seed=seed)

    chosen = items.select(budget, strategy=strategy, explore=explore, radius=radius, seed=seed)

    picked = [one.id for one in chosen if not one.is_uniform]
    for one in picked:
        others = {*items.labelled, *(other.id for other in chosen)} - {one}
        assert all(distance(items, one, other) >= radius * (1 - 1e-9) for other in others)


def test_the_pool_holds_twins_that_a_choice_without_a_radius_would_take() -> None:
    items = some_items(60)

    chosen = [one.id for one in items.select(54, strategy="random", explore=0.0)]
    apart = [distance(items, one, other) for one in chosen for other in chosen if one < other]

    assert min(apart) == 0.0


@settings(max_examples=80)
@given(**POOL, quota=st.integers(0, 5))
def test_quotas_bind_what_a_strategy_chooses_and_count_what_was_drawn(
    count: int, labelled: int, strategy: Strategy, budget: int, explore: float, seed: int, quota: int
) -> None:
    items = some_items(count, labelled=labelled, seed=seed)
    quotas = {"slice 0": quota, "slice 1": 2 * quota}

    chosen = items.select(budget, strategy=strategy, explore=explore, quotas=quotas, seed=seed)

    drawn, picked = (
        Counter(items.groups[items.index(one.id)] for one in chosen if one.is_uniform is is_uniform)
        for is_uniform in (True, False)
    )
    for group, most in quotas.items():
        assert picked[group] <= max(most - drawn[group], 0)
    unbound = sum(group == "slice 2" for group in items.groups[labelled:])
    assert len(chosen) >= min(budget, unbound)  # a full slice does not keep the others out


@settings(max_examples=60)
@given(**POOL, most_cost=st.floats(0.0, 60.0))
def test_the_cost_of_all_stays_within_its_bound(
    count: int, labelled: int, strategy: Strategy, budget: int, explore: float, seed: int, most_cost: float
) -> None:
    items = some_items(count, labelled=labelled, seed=seed)

    chosen = items.select(budget, strategy=strategy, explore=explore, most_cost=most_cost, seed=seed)

    drawn, picked = (
        sum(float(items.cost[items.index(one.id)]) for one in chosen if one.is_uniform is is_uniform)
        for is_uniform in (True, False)
    )
    assert picked <= max(most_cost - drawn, 0.0) + 1e-9


@settings(max_examples=60)
@given(**POOL)
def test_a_seed_gives_one_answer(
    count: int, labelled: int, strategy: Strategy, budget: int, explore: float, seed: int
) -> None:
    items = some_items(count, labelled=labelled, seed=seed)
    first, second = (items.select(budget, strategy=strategy, explore=explore, seed=seed) for _ in range(2))

    assert first == second


@settings(max_examples=40)
@given(strategy=STRATEGY, seed=st.integers(0, 100))
def test_what_waits_in_a_queue_is_drawn_at_most_and_never_chosen(strategy: Strategy, seed: int) -> None:
    items = some_items(40, seed=seed)
    queued = [f"item {index}" for index in range(6, 26)]

    chosen = items.select(20, strategy=strategy, explore=0.3, queued_ids=queued, radius=0.0, seed=seed)

    assert not {one.id for one in chosen if not one.is_uniform} & set(queued)
    assert len(chosen) >= 14


def drawn_counts(trials: int, **changes: Any) -> tuple[Counter[str], int]:
    """How often each item was drawn, and how many draws there were."""
    items = some_items(30, labelled=5)
    counts = Counter[str]()
    for seed in range(trials):
        counts.update(one.id for one in items.select(10, explore=0.3, seed=seed, **changes) if one.is_uniform)
    return counts, trials * 3


@pytest.mark.parametrize("trials", [400, pytest.param(4_000, marks=pytest.mark.statistics)])
def test_exploration_is_uniform_over_everything_unlabelled(trials: int) -> None:
    queued = [f"item {index}" for index in range(5, 12)]
    limits = {"quotas": {"slice 0": 1}, "radius": 1.5, "queued_ids": queued}

    counts, draws = drawn_counts(trials, strategy="margin", **limits)

    observed = [counts[f"item {index}"] for index in range(5, 30)]
    assert sum(observed) == draws
    assert not set(counts) & {f"item {index}" for index in range(5)}
    assert chisquare(observed).pvalue > 1e-3


@pytest.mark.parametrize("trials", [400])
def test_the_test_of_uniformity_notices_a_draw_that_is_not(trials: int) -> None:
    items = some_items(30, labelled=5)
    counts = Counter[str]()
    for seed in range(trials):  # what a strategy with a radius would draw "at random"
        chosen = items.select(3, strategy="random", explore=0.0, radius=0.5, seed=seed)
        counts.update(one.id for one in chosen)

    assert chisquare([counts[f"item {index}"] for index in range(5, 30)]).pvalue < 1e-3


def test_what_is_drawn_says_with_which_probability_and_does_not_depend_on_the_strategy() -> None:
    items = some_items(46, labelled=6)

    draws = {
        strategy: [one for one in items.select(20, strategy=strategy, explore=0.2, radius=0.1) if one.is_uniform]
        for strategy in STRATEGIES
    }

    assert {one.propensity for drawn in draws.values() for one in drawn} == {4 / 40}
    assert all(drawn == draws["hybrid"] for drawn in draws.values())
    assert draws["hybrid"][0].reason == "explore: one of 4 drawn uniformly from all 40 unlabelled items"
    assert [one.propensity for one in items.select(20, explore=0.2)][4:] == [None] * 16


def test_a_random_choice_that_nothing_binds_is_a_simple_random_sample() -> None:
    items = some_items(46, labelled=6)

    free = items.select(20, strategy="random")
    bound = items.select(20, strategy="random", quotas={"slice 0": 3})

    assert {one.propensity for one in free} == {0.5}
    assert {one.propensity for one in bound} == {2 / 40, None}


def test_a_draw_from_all_takes_labelled_items_too_and_a_strategy_never_does() -> None:
    items = some_items(40, labelled=30)

    chosen = [items.select(20, explore=0.5, drawn_from="all", seed=seed) for seed in range(100)]

    drawn = {one.id for own in chosen for one in own if one.is_uniform}
    picked = {one.id for own in chosen for one in own if not one.is_uniform}
    assert drawn == set(items.ids)
    assert picked <= set(items.ids) - set(items.labelled)
    assert chosen[0][0].propensity == 10 / 40
    assert chosen[0][0].reason == "explore: one of 10 drawn uniformly from all 40 items"


BAD = [
    ({"budget": -1}, "budget"),
    ({"budget": 2.5}, "budget"),
    ({"strategy": "best"}, "unknown strategy 'best'; choose one of: hybrid"),
    ({"explore": 1.5}, "explore"),
    ({"explore": float("nan")}, "explore"),
    ({"radius": -1.0}, "radius"),
    ({"radius": float("inf")}, "radius"),
    ({"labelled_ids": ["nobody"]}, "'nobody'"),
    ({"queued_ids": ["nobody"]}, "'nobody'"),
    ({"embeddings": np.zeros((3, 2))}, r"\(20, d\).*got \(3, 2\)"),
    ({"embeddings": np.zeros(20)}, r"\(20, d\)"),
    ({"embeddings": np.zeros((20, 2), dtype=int)}, "int64"),
    ({"embeddings": np.full((20, 2), np.nan)}, "not finite"),
    ({"embeddings": None}, "needs embeddings"),
    ({"embeddings": None, "strategy": "margin", "radius": 1.0}, "a radius needs embeddings"),
    ({"uncertainty": {"margin": np.zeros(3)}}, r"\(20,\)"),
    ({"uncertainty": {"margin": np.full(20, np.nan)}}, "margin must be finite"),
    ({"uncertainty": {"margin": np.full(20, -0.1)}}, "0 or more"),
    ({"uncertainty": {"mnlp": np.zeros(20)}, "strategy": "entropy"}, "needs the uncertainty entropy.*there are: mnlp"),
    ({"uncertainty": None, "strategy": "margin"}, "needs the uncertainty margin"),
    ({"strategy": "cost_aware"}, "needs a cost"),
    ({"strategy": "stratified"}, "needs a group"),
    ({"cost": np.zeros(20), "strategy": "cost_aware"}, "cost must be finite numbers above 0"),
    ({"most_cost": 3.0}, "give the cost"),
    ({"quotas": {"a": 1}}, "name the group"),
    ({"groups": ["a"] * 20, "quotas": {"b": 1}}, "no item is in group 'b'; groups: a"),
    ({"groups": ["a"] * 20, "quotas": {"a": -1}}, "quota of group 'a'"),
    ({"groups": ["a"] * 3}, "for each of 20 ids; got 3"),
    ({"ids": ["same"] * 20}, "'same' names two items"),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_a_bad_request_says_what_is_wrong(changes: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {
        "ids": [str(index) for index in range(20)],
        "embeddings": np.random.default_rng(0).normal(size=(20, 2)),
        "uncertainty": {"margin": np.linspace(0.0, 1.0, 20)},
        "labelled_ids": ["0"],
        "budget": 5,
        "rng": np.random.default_rng(0),
    }
    assert len(select(**good)) == 5

    with pytest.raises(InvalidRequestError, match=message) as refused:
        select(**good | changes)

    assert refused.value.code == "invalid_argument"


def test_an_empty_pool_gives_nothing() -> None:
    rng = np.random.default_rng(0)

    for strategy in STRATEGIES:
        cost, groups = np.zeros(0), list[str]()
        values = {name: np.zeros(0) for name in ("margin", "least_confidence", "entropy")}
        assert select([], np.zeros((0, 2)), values, [], 5, strategy=strategy, cost=cost, groups=groups, rng=rng) == []


def test_a_memory_map_of_float16_is_as_good_as_an_array(tmp_path: Any) -> None:
    items = some_items(50)
    np.save(tmp_path / "e.npy", items.embeddings)

    mapped = select(
        *(items.ids, np.load(tmp_path / "e.npy", mmap_mode="r"), items.uncertainty, items.labelled, 10),
        rng=np.random.default_rng(0),
    )

    assert mapped == items.select(10, cost=None, groups=None)
    assert isinstance(mapped[0], Selected)
