"""Tests that a calibrator's curve is sane whatever the answers, and says what it was fitted on."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from pipelines.calibration import Calibrator, TooFewLabelsError, fit
from pipelines.calibration.curve_fits import fit_isotonic, fit_platt
from pipelines.calibration.curves import Isotonic, Platt
from pipelines.calibration.reviewed import Reviewed
from pipelines.errors import InvalidRequestError
from tests.pipelines.calibration.truths import A_MOMENT, logit_shift

CALIBRATOR = TypeAdapter(Calibrator)
shares = st.floats(0.0, 1.0)
answers = st.lists(st.tuples(shares, st.booleans(), st.floats(0.1, 50.0)), min_size=30, max_size=120)


def fitted(answers: list[tuple[float, bool, float]], *, isotonic_from: float = math.inf) -> Calibrator | None:
    scores, is_right, weights = zip(*answers, strict=True)
    if not 5 <= sum(is_right) <= len(answers) - 5:
        return None
    return fit(
        scores,
        is_right,
        weights=weights,
        fitted_at=A_MOMENT,
        rng=np.random.default_rng(1),
        min_n=30,
        isotonic_from=isotonic_from,
    )


@pytest.mark.parametrize("fit_curve", [fit_platt, fit_isotonic])
@given(answers=answers, scores=st.lists(shares, min_size=2, max_size=50))
@settings(max_examples=60)
def test_a_curve_never_falls_and_stays_inside_0_and_1(
    fit_curve: type[Platt | Isotonic], answers: list[tuple[float, bool, float]], scores: list[float]
) -> None:
    given_scores, is_right, weights = zip(*answers, strict=True)
    curve = fit_curve(Reviewed.of(given_scores, is_right, weights=weights))  # type: ignore[call-arg]

    one_by_one = [curve.probability(score) for score in sorted(scores)]
    together = curve.apply(np.sort(scores))

    for probabilities in (np.array(one_by_one), together):
        assert (np.diff(probabilities) >= -1e-15).all()
        assert (probabilities > 0.0).all() and (probabilities < 1.0).all()
    np.testing.assert_allclose(one_by_one, together, rtol=0, atol=1e-12)


@given(answers=answers, isotonic_from=st.sampled_from([0.0, math.inf]))
@settings(max_examples=40)
def test_a_calibrator_comes_back_from_json_to_the_last_digit(
    answers: list[tuple[float, bool, float]], isotonic_from: float
) -> None:
    calibrator = fitted(answers, isotonic_from=isotonic_from)
    if calibrator is None:
        return

    again = CALIBRATOR.validate_json(CALIBRATOR.dump_json(calibrator))

    assert again == calibrator
    assert CALIBRATOR.dump_json(again) == CALIBRATOR.dump_json(calibrator)
    assert [again.probability(s) for s in (0.0, 0.3, 1.0)] == [calibrator.probability(s) for s in (0.0, 0.3, 1.0)]


def test_the_same_answers_and_seed_give_the_same_calibrator() -> None:
    drawn = logit_shift(1500, np.random.default_rng(5))

    one, other = (fit(drawn.scores, drawn.is_right, fitted_at=A_MOMENT, rng=np.random.default_rng(1)) for _ in range(2))

    assert one == other
    assert (one.n, one.n_effective, one.positives) == (1500, 1500.0, int(drawn.is_right.sum()))


def test_equal_weights_change_nothing() -> None:
    drawn = logit_shift(400, np.random.default_rng(5))

    plain = fit_platt(Reviewed.of(drawn.scores, drawn.is_right))
    weighted = fit_platt(Reviewed.of(drawn.scores, drawn.is_right, weights=np.full(400, 1.0 / 3.0)))

    assert weighted.slope == pytest.approx(plain.slope, rel=1e-9)
    assert Reviewed.of(drawn.scores, drawn.is_right, weights=np.full(400, 1.0 / 3.0)).n_effective == 400.0


def test_platt_finds_the_slope_and_offset_of_a_logit_shift() -> None:
    drawn = logit_shift(50_000, np.random.default_rng(2))

    curve = fit_platt(Reviewed.of(drawn.scores, drawn.is_right))

    assert curve.slope == pytest.approx(0.6, abs=0.02)
    assert curve.intercept == pytest.approx(-0.54, abs=0.03)


def test_too_few_answers_are_refused_with_the_number_that_is_missing() -> None:
    with pytest.raises(
        TooFewLabelsError, match=r"got 32 answers, 30 right and 2 wrong.*18 more are missing"
    ) as refused:
        fit([0.5] * 32, [True] * 30 + [False] * 2, fitted_at=A_MOMENT, rng=np.random.default_rng(0))

    assert refused.value.code == "too_few_labels"
    assert refused.value.missing == 18
    assert pickle.loads(pickle.dumps(refused.value)).missing == 18  # noqa: S301


def test_enough_answers_of_one_kind_only_are_refused() -> None:
    with pytest.raises(TooFewLabelsError) as refused:
        fit([0.5] * 500, [True] * 498 + [False] * 2, fitted_at=A_MOMENT, rng=np.random.default_rng(0))

    assert refused.value.missing == 3


@pytest.mark.parametrize(
    ("scores", "weights"),
    [([1.2] * 60, None), ([math.nan] * 60, None), ([0.5] * 60, [0.0] * 60), ([0.5] * 60, [math.inf] * 60)],
)
def test_what_is_no_score_or_no_weight_is_refused(scores: list[float], weights: list[float] | None) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        Reviewed.of(scores, [True, False] * 30, weights=weights)

    assert refused.value.code == "invalid_argument"


def test_arrays_of_different_lengths_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match="one of each"):
        Reviewed.of([0.5, 0.6], [True])


def test_answers_that_the_score_separates_perfectly_give_a_finite_curve() -> None:
    scores = np.concatenate([np.linspace(0.0, 0.4, 40), np.linspace(0.6, 1.0, 40)])

    curve = fit_platt(Reviewed.of(scores, scores > 0.5))

    assert math.isfinite(curve.slope)
    assert 0.9 < curve.probability(1.0) < 1.0


def test_scores_that_rank_the_wrong_way_get_one_probability() -> None:
    scores = np.linspace(0.01, 0.99, 200)

    curve = fit_platt(Reviewed.of(scores, scores < 0.5))

    assert curve.slope == 0.0
    assert curve.probability(0.9) == pytest.approx(0.5, abs=0.01)


def test_a_single_score_gets_the_share_that_was_right() -> None:
    platt = fit_platt(Reviewed.of([0.7] * 100, [True] * 80 + [False] * 20))
    isotonic = fit_isotonic(Reviewed.of([0.7] * 100, [True] * 80 + [False] * 20))

    assert platt.probability(0.7) == pytest.approx(0.8, abs=0.02)
    assert isotonic.probability(0.2) == isotonic.probability(0.9) == pytest.approx(81 / 102)
    assert isotonic.apply(np.array([0.2, 0.7])) == pytest.approx(81 / 102)


@pytest.mark.parametrize("k", [1, 3, 20])
def test_a_handful_of_right_answers_at_the_top_is_no_certainty(k: int) -> None:
    scores = [0.2] * 50 + list(np.linspace(0.9, 1.0, k))

    curve = fit_isotonic(Reviewed.of(scores, [False] * 50 + [True] * k))

    assert curve.probability(1.0) == pytest.approx(k / (k + 1))
    assert curve.probability(0.0) == pytest.approx(1 / 51)


def test_plain_isotonic_regression_would_be_certain() -> None:
    from sklearn.isotonic import IsotonicRegression

    plain = IsotonicRegression().fit([0.2] * 50 + [1.0], [0.0] * 50 + [1.0])

    assert plain.predict([1.0]) == 1.0


@pytest.mark.parametrize("curve", [Platt(slope=0.8, intercept=0.1), Isotonic(x=(0.2, 0.8), y=(0.1, 0.9))])
def test_a_score_that_is_no_number_counts_as_the_lowest(curve: Platt | Isotonic) -> None:
    assert curve.probability(math.nan) == curve.probability(0.0)
    assert curve.apply(np.array([math.nan])) == curve.apply(np.array([0.0]))


def test_a_curve_that_falls_is_no_calibrator() -> None:
    kept = CALIBRATOR.dump_python(
        fit([0.1, 0.9] * 30, [True, False, True, True] * 15, fitted_at=A_MOMENT, rng=np.random.default_rng(0))
    )

    for curve in (
        {"kind": "platt", "slope": -1.0, "intercept": 0.0},
        {"kind": "isotonic", "x": [0.1, 0.2], "y": [0.9, 0.1]},
        {"kind": "isotonic", "x": [0.2, 0.2], "y": [0.1, 0.9]},
        {"kind": "isotonic", "x": [], "y": []},
    ):
        with pytest.raises(ValidationError):
            CALIBRATOR.validate_python(kept | {"curve": curve})


def test_calibrating_imports_no_scikit_learn() -> None:
    seen = "import sys, pipelines.calibration; print([m for m in ('sklearn', 'scipy', 'jinja2') if m in sys.modules])"

    said = subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True, check=True, timeout=60)

    assert said.stdout.strip() == "[]"
