"""Tests that an item's confidence combines what is informative, and falls back where combining does not help."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from pipelines.calibration import ItemScore, TooFewLabelsError, fit_item
from pipelines.calibration.combiner import Combiner, Term
from pipelines.calibration.losses import log_loss
from pipelines.calibration.quality import ece
from pipelines.calibration.risk_coverage import risk_coverage
from pipelines.errors import InvalidRequestError
from tests.pipelines.calibration.truths import A_MOMENT, sigmoid

ITEM_SCORE = TypeAdapter(ItemScore)
Rows = list[dict[str, float]]


def draw(n: int, rng: np.random.Generator, *, by_second: float) -> tuple[Rows, np.ndarray, np.ndarray]:
    """Rows, raw scores and answers; the raw score knows the first feature alone, ``by_second`` weighs another."""
    first, second, noise = rng.normal(0.5, 1.5, n), rng.normal(0.0, 1.5, n), rng.normal(0.0, 1.0, n)
    is_acceptable = rng.random(n) < sigmoid(first + by_second * second)
    rows = [{"first": f, "second": s, "noise": e} for f, s, e in zip(first, second, noise, strict=True)]
    return rows, sigmoid(first), is_acceptable


def fitted(rows: Rows, raw: np.ndarray, is_acceptable: np.ndarray) -> ItemScore:
    return fit_item(rows, is_acceptable, raw_scores=raw, fitted_at=A_MOMENT, rng=np.random.default_rng(1))


@pytest.mark.parametrize("trials", [5, pytest.param(50, marks=pytest.mark.statistics)])
def test_two_informative_features_beat_the_raw_score_that_knows_one(trials: int) -> None:
    rng = np.random.default_rng(31)
    gains = dict[str, list[float]](log_loss=[], area=[])
    for _ in range(trials):
        item = fitted(*draw(500, rng, by_second=1.0))
        rows, raw, is_acceptable = draw(4_000, rng, by_second=1.0)
        combined = np.array([item.probability(row, raw=r) for row, r in zip(rows, raw, strict=True)])
        alone = item.on_raw.apply(raw)
        gains["log_loss"].append(log_loss(alone, is_acceptable) - log_loss(combined, is_acceptable))
        gains["area"].append(risk_coverage(alone, is_acceptable).area - risk_coverage(combined, is_acceptable).area)
        assert item.method == "combiner"
        assert item.combiner_log_loss < item.raw_log_loss
        assert ece(combined, is_acceptable) < 0.06

    assert np.mean(gains["log_loss"]) > 0.05
    assert np.mean(gains["area"]) > 0.03


@pytest.mark.parametrize("trials", [20, pytest.param(200, marks=pytest.mark.statistics)])
def test_features_without_worth_fall_back_to_the_raw_score(trials: int) -> None:
    rng = np.random.default_rng(32)

    methods = [fitted(*draw(300, rng, by_second=0.0)).method for _ in range(trials)]

    assert methods.count("raw") >= 0.9 * trials


def test_the_fallback_keeps_the_order_of_the_raw_scores() -> None:
    item = fitted(*draw(300, np.random.default_rng(33), by_second=0.0))

    probabilities = [item.probability({}, raw=raw) for raw in np.linspace(0.01, 0.99, 50)]

    assert item.combiner is None
    assert item.on_raw.method == "platt"
    assert all(np.diff(probabilities) > 0.0)


def test_a_feature_that_is_often_missing_is_judged_by_its_absence() -> None:
    rng = np.random.default_rng(34)
    rows, raw, _ = draw(2_000, rng, by_second=0.0)
    is_missing = rng.random(2_000) < 0.3
    is_acceptable = rng.random(2_000) < np.where(is_missing, 0.2, 0.8)
    gappy: Rows = [
        {"first": row["first"]} | ({"missing_second": 1.0} if gone else {"second": row["second"]})
        for row, gone in zip(rows, is_missing, strict=True)
    ]

    item = fitted(gappy, raw, is_acceptable)

    assert item.probability({"first": 0.5, "missing_second": 1.0}, raw=0.6) == pytest.approx(0.2, abs=0.06)
    assert item.probability({"first": 0.5, "second": 0.0}, raw=0.6) == pytest.approx(0.8, abs=0.06)


def test_a_feature_that_was_never_missing_before_counts_as_the_worst_that_was_seen() -> None:
    rows, raw, is_acceptable = draw(1_000, np.random.default_rng(35), by_second=1.0)
    item = fitted(rows, raw, is_acceptable)
    lowest = min(row["second"] for row in rows)

    gone = item.probability({"first": 0.5, "noise": 0.0, "missing_second": 1.0}, raw=0.9)

    assert gone == pytest.approx(item.probability({"first": 0.5, "noise": 0.0, "second": lowest}, raw=0.9))
    assert gone < item.probability({"first": 0.5, "noise": 0.0, "second": 0.0}, raw=0.9)


def test_a_value_beyond_what_the_fit_has_seen_counts_as_the_last_that_it_has() -> None:
    combiner = Combiner(intercept=0.0, terms={"x": Term(weight=2.0, mean=0.0, scale=1.0, low=-1.0, high=1.0)})

    assert (
        combiner.probability({"x": 50.0}) == combiner.probability({"x": 1.0}) == pytest.approx(1 / (1 + math.exp(-2)))
    )
    assert combiner.probability({"x": 0.0, "unknown": 9.0}) == 0.5


def test_features_that_never_change_tell_nothing() -> None:
    rows, raw, is_acceptable = draw(300, np.random.default_rng(36), by_second=1.0)

    item = fitted([row | {"always": 1.0} for row in rows], raw, is_acceptable)
    bare = fitted([{"always": 1.0} for _ in rows], raw, is_acceptable)

    assert item.combiner is not None and "always" not in item.combiner.terms
    assert bare.method == "raw"


@pytest.mark.parametrize("trials", [4, pytest.param(50, marks=pytest.mark.statistics)])
def test_weights_repair_a_selection_of_items(trials: int) -> None:
    rng = np.random.default_rng(37)
    plain, repaired, truth = list[float](), list[float](), list[float]()
    for _ in range(trials):
        rows, raw, is_acceptable = draw(3_000, rng, by_second=1.0)
        second = np.array([row["second"] for row in rows])
        seen_rows: Rows = [{"first": row["first"], "noise": row["noise"]} for row in rows]
        propensity = np.where(second < 0.0, 1.0, 0.2)  # chosen by what the features do not say
        seen = np.flatnonzero(rng.random(3_000) < propensity)
        for found, weights in ((plain, None), (repaired, 1.0 / propensity[seen])):
            item = fit_item(
                [seen_rows[i] for i in seen.tolist()],
                is_acceptable[seen],
                raw_scores=raw[seen],
                weights=weights,
                fitted_at=A_MOMENT,
                rng=rng,
            )
            found.append(float(np.mean([item.probability(r, raw=s) for r, s in zip(seen_rows, raw, strict=True)])))
        truth.append(float(is_acceptable.mean()))

    assert np.mean(plain) < np.mean(truth) - 0.1  # negative control
    assert np.mean(repaired) == pytest.approx(np.mean(truth), abs=0.02)


@pytest.fixture(scope="module")
def item_score() -> ItemScore:
    return fitted(*draw(400, np.random.default_rng(40), by_second=1.0))


@given(values=st.dictionaries(st.sampled_from(["first", "second", "noise", "missing_second"]), st.floats(-1e6, 1e6)))
def test_it_comes_back_from_json_and_says_the_same(item_score: ItemScore, values: dict[str, float]) -> None:
    again = ITEM_SCORE.validate_json(ITEM_SCORE.dump_json(item_score))

    assert again == item_score
    assert 0.0 < again.probability(values, raw=0.5) == item_score.probability(values, raw=0.5) < 1.0


def test_too_few_items_are_refused_with_the_number_that_is_missing() -> None:
    with pytest.raises(TooFewLabelsError) as refused:
        fitted(*draw(40, np.random.default_rng(38), by_second=1.0))

    assert refused.value.missing == 10


def test_a_feature_that_is_no_number_is_refused() -> None:
    rows, raw, is_acceptable = draw(100, np.random.default_rng(39), by_second=1.0)

    with pytest.raises(InvalidRequestError, match="finite"):
        fitted([*rows[:-1], {"first": math.nan}], raw, is_acceptable)


@given(
    values=st.lists(st.floats(-30.0, 30.0), min_size=8, max_size=8), order=st.permutations([str(n) for n in range(8)])
)
def test_the_order_in_which_terms_are_kept_changes_nothing(values: list[float], order: list[str]) -> None:
    """A database keeps keys in an order of its own, and a threshold may lie on the very number."""
    term = Term(weight=0.1, mean=0.3, scale=0.7, low=-30.0, high=30.0)
    terms = {str(n): replace(term, weight=0.1 * (n + 1)) for n in range(8)}
    features = {str(n): value for n, value in enumerate(values)}

    one, other = Combiner(intercept=0.1, terms=terms), Combiner(intercept=0.1, terms={n: terms[n] for n in order})

    assert one.probability(features) == other.probability(features)
