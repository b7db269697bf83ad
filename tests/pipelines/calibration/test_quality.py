"""Tests the measures of calibration and ranking against values worked out by hand, and against other libraries."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.metrics import log_loss as sklearn_log_loss
from statsmodels.stats.proportion import proportion_confint

from pipelines.calibration.losses import brier, log_loss
from pipelines.calibration.matching import match
from pipelines.calibration.quality import auroc, d_ece, ece, la_ece
from pipelines.calibration.reliability import bin_of, clopper_pearson, reliability, wilson
from pipelines.calibration.risk_coverage import risk_coverage

# Exactly as many are right as each probability says.
PERFECT = np.repeat([0.25, 0.5, 0.75, 1.0], 8)
PERFECT_RIGHT = np.concatenate([np.arange(8) < k for k in (2, 4, 6, 8)])
events = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9, 1.0]), st.booleans()), min_size=2, max_size=60)


@pytest.mark.parametrize("binning", ["width", "mass"])
def test_perfect_probabilities_have_no_calibration_error(binning: str) -> None:
    assert ece(PERFECT, PERFECT_RIGHT, binning=binning) == pytest.approx(0.0, abs=1e-12)  # type: ignore[arg-type]
    assert ece(PERFECT - 0.1, PERFECT_RIGHT, binning=binning) == pytest.approx(0.1)  # type: ignore[arg-type]


def test_perfect_detections_have_no_detection_error() -> None:
    labels = ["cat", "dog"] * 16
    expected_ious = np.where(np.arange(32) % 4 < 2, 0.8, 0.0)  # half of them matched

    assert d_ece(PERFECT, PERFECT_RIGHT) == pytest.approx(0.0, abs=1e-12)
    assert la_ece(np.full(32, 0.4), expected_ious, labels=labels) == pytest.approx(0.0, abs=1e-12)
    assert la_ece(np.full(32, 0.5), expected_ious, labels=labels) == pytest.approx(0.1)  # right as often, but not there


def test_six_boxes_by_hand() -> None:
    """Of cats 0.90 is matched exactly, 0.89 is its duplicate, 0.30 is matched at IoU 0.8, 0.27 lies alone; of dogs
    0.62 lies on a cat and 0.61 is matched at IoU 0.5.
    """
    first = match(
        np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 8], [80, 0, 90, 10]], dtype=float),
        np.array([[0, 0, 10, 10], [20, 0, 30, 10], [50, 50, 60, 60]], dtype=float),
        labels=["cat"] * 4,
        true_labels=["cat"] * 3,
        scores=[0.90, 0.89, 0.30, 0.27],
    )
    second = match(
        np.array([[0, 0, 10, 10], [20, 0, 30, 5]], dtype=float),
        np.array([[0, 0, 10, 10], [20, 0, 30, 10]], dtype=float),
        labels=["dog"] * 2,
        true_labels=["cat", "dog"],
        scores=[0.62, 0.61],
    )
    scores = np.array([0.90, 0.89, 0.30, 0.27, 0.62, 0.61])
    labels = ["cat"] * 4 + ["dog"] * 2
    is_right, ious = (np.concatenate([getattr(first, name), getattr(second, name)]) for name in ("is_right", "ious"))

    assert is_right.tolist() == [True, False, True, False, False, True]
    assert ious == pytest.approx([1.0, 0.0, 0.8, 0.0, 0.0, 0.5])
    assert (first.missed, second.missed) == (1, 1)
    # bins of 0.04: {0.90, 0.89} mean 0.895; {0.30}; {0.27}; {0.62, 0.61} mean 0.615
    assert d_ece(scores, is_right) == pytest.approx((2 * 0.395 + 0.7 + 0.27 + 2 * 0.115) / 6)
    assert d_ece(scores, is_right, labels=labels) == pytest.approx(((2 * 0.395 + 0.7 + 0.27) / 4 + 0.115) / 2)
    assert la_ece(scores, ious, labels=labels) == pytest.approx(((2 * 0.395 + 0.5 + 0.27) / 4 + 0.365) / 2)


def test_the_better_scored_box_is_matched_first_and_takes_the_best_that_is_free() -> None:
    found = match(
        np.array([[0, 0, 10, 8], [0, 0, 10, 10]], dtype=float),
        np.array([[0, 0, 10, 10], [0, 1, 10, 10]], dtype=float),
        labels=["cat", "cat"],
        true_labels=["cat", "cat"],
        scores=[0.3, 0.9],
    )

    assert found.ious == pytest.approx([7 / 10, 1.0])
    assert found.missed == 0


def test_nothing_found_and_nothing_there_match_nothing() -> None:
    nothing = np.zeros((0, 4))
    one = np.array([[0.0, 0.0, 1.0, 1.0]])

    assert match(nothing, one, labels=[], true_labels=["cat"], scores=[]).missed == 1
    assert match(one, nothing, labels=["cat"], true_labels=[], scores=[0.5]).is_right.tolist() == [False]
    assert d_ece(np.zeros(0), np.zeros(0, dtype=bool)) == 0.0


@pytest.mark.parametrize("bins", [1, 15, 25])
def test_weights_of_two_are_two_answers(bins: int) -> None:
    rng = np.random.default_rng(1)
    p, right = rng.random(300), rng.random(300) < 0.4
    weights = np.where(np.arange(300) % 3, 1.0, 2.0)
    twice = np.repeat(np.arange(300), weights.astype(int))

    for measure in (ece, d_ece):
        assert measure(p, right, bins=bins, weights=weights) == pytest.approx(
            measure(p[twice], right[twice], bins=bins)
        )
    assert brier(p, right, weights=weights) == pytest.approx(brier(p[twice], right[twice]))
    assert log_loss(p, right, weights=weights) == pytest.approx(log_loss(p[twice], right[twice]))
    assert auroc(p, right, weights=weights) == pytest.approx(auroc(p[twice], right[twice]))
    assert risk_coverage(p, right, weights=weights).area == pytest.approx(
        risk_coverage(p[twice], right[twice]).area, abs=0.01
    )


def test_bins_of_equal_mass_are_equally_full() -> None:
    p = np.random.default_rng(2).beta(8.0, 1.0, 1_500)

    assert np.bincount(bin_of(p, bins=15, binning="mass")).tolist() == [100] * 15
    assert np.bincount(bin_of(p, bins=15)).max() > 500  # negative control


@given(events=events)
def test_the_order_of_events_changes_nothing(events: list[tuple[float, bool]]) -> None:
    p, right = np.array([e[0] for e in events]), np.array([e[1] for e in events])
    shuffled = np.random.default_rng(3).permutation(len(events))

    for binning in ("width", "mass"):
        assert ece(p[shuffled], right[shuffled], binning=binning) == pytest.approx(ece(p, right, binning=binning))
    assert risk_coverage(p[shuffled], right[shuffled]).area == pytest.approx(risk_coverage(p, right).area)


@given(events=events)
def test_losses_and_auroc_are_those_of_scikit_learn(events: list[tuple[float, bool]]) -> None:
    p, right = np.array([e[0] for e in events]), np.array([e[1] for e in events])

    assert brier(p, right) == pytest.approx(brier_score_loss(right, p, labels=[False, True]))
    if 0 < right.sum() < len(right):
        assert auroc(p, right) == pytest.approx(roc_auc_score(right, p))
        inside = np.clip(p, 0.01, 0.99)
        assert log_loss(inside, right) == pytest.approx(sklearn_log_loss(right, inside))
    else:
        assert np.isnan(auroc(p, right))


def test_the_area_of_a_perfect_ranking_by_hand() -> None:
    scores = np.linspace(1.0, 0.1, 10)
    is_right = np.arange(10) < 8  # the two worst scores are wrong

    curve = risk_coverage(scores, is_right)

    assert curve.risk == pytest.approx([0.0] * 8 + [1 / 9, 2 / 10])
    assert curve.coverage == pytest.approx(np.arange(1, 11) / 10)
    assert curve.area == pytest.approx((1 / 9 + 2 / 10) / 10)
    worst = (1 + 1 + 2 / 3 + 2 / 4 + 2 / 5 + 2 / 6 + 2 / 7 + 2 / 8 + 2 / 9 + 2 / 10) / 10
    assert risk_coverage(-scores, is_right).area == pytest.approx(worst)


def test_scores_that_say_nothing_cost_the_base_rate_at_every_coverage() -> None:
    curve = risk_coverage(np.full(10, 0.5), np.arange(10) < 8)

    assert curve.risk == pytest.approx([0.2] * 10)
    assert curve.area == pytest.approx(0.2)


@pytest.mark.parametrize(("right", "n"), [(0, 5), (3, 7), (50, 50), (1, 400)])
def test_intervals_are_those_of_statsmodels(right: int, n: int) -> None:
    for ours, theirs in ((wilson, "wilson"), (clopper_pearson, "beta")):
        assert ours(right / n, n=n) == pytest.approx(proportion_confint(right, n, method=theirs), abs=1e-6)


def test_the_bins_of_a_diagram_hold_every_answer() -> None:
    rng = np.random.default_rng(4)
    p = rng.random(500)
    right = rng.random(500) < p

    found = reliability(p, right, bins=10)

    assert sum(b.n for b in found) == 500
    assert sum(b.share for b in found) == pytest.approx(1.0)
    assert all(b.low <= b.mean <= b.high and b.right_low <= b.right <= b.right_high for b in found)
    assert sum(b.share * abs(b.mean - b.right) for b in found) == pytest.approx(ece(p, right, bins=10))
    wider = reliability(p, right, bins=10, interval="clopper_pearson")
    assert all(w.right_high - w.right_low > b.right_high - b.right_low for w, b in zip(wider, found, strict=True))


def test_unequal_weights_make_an_interval_wider() -> None:
    p, right = np.full(100, 0.5), np.arange(100) % 2 == 0
    weights = np.where(np.arange(100) < 50, 1.0, 9.0)

    (even,), (uneven,) = reliability(p, right), reliability(p, right, weights=weights)

    assert uneven.right_high - uneven.right_low > 1.2 * (even.right_high - even.right_low)
