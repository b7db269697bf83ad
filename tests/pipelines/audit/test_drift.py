"""Checks that a change is seen, and that none is seen where nothing changed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.audit import Drift, Period, drifts
from pipelines.audit.drift import holm
from pipelines.errors import InvalidRequestError

SLICES = ("day", "night", "rain", "snow", "tunnel")
SHARES = {"car": 0.6, "bicycle": 0.3, "tram": 0.098, "elephant": 0.002}


def a_period(rng: np.random.Generator, n: int = 400, slices: tuple[str, ...] = SLICES) -> Period:
    names, p = list(SHARES), list(SHARES.values())
    return Period(
        scores={name: rng.beta(5, 2, n) for name in slices},
        classes={name: rng.choice(names, n, p=p) for name in slices},
        accepted={name: rng.random(n) < 0.7 for name in slices},
        corrections={name: np.where(rng.random(n // 4) < 0.5, 0.0, rng.random(n // 4)) for name in slices},
    )


def one_of(found: list[Drift], what: str, name: str = "night") -> Drift:
    return next(drift for drift in found if (drift.what, drift.slice) == (what, name))


def changed(period: Period, what: str, values: np.ndarray) -> Period:
    return Period(
        **{
            field: getattr(period, field) | ({"night": values} if field == what else {})
            for field in ("scores", "classes", "accepted", "corrections")
        }
    )


@pytest.mark.parametrize("what", ["scores", "classes", "accepted", "corrections"])
def test_a_shift_is_found_where_it_is_and_nowhere_else(what: str) -> None:
    rng = np.random.default_rng(1)
    reference, current = a_period(rng), a_period(rng)
    shifted = {
        "scores": rng.beta(3, 3, 400),
        "classes": rng.choice(["car", "bicycle", "tram"], 400, p=[0.3, 0.3, 0.4]),
        "accepted": rng.random(400) < 0.5,
        "corrections": rng.random(100),
    }

    found = drifts(reference, changed(current, what, shifted[what]))

    assert [(drift.what, drift.slice) for drift in found if drift.is_significant] == [(what, "night")]
    assert found[0] == one_of(found, what)
    if what in ("scores", "classes"):
        psi = found[0].psi
        assert psi is not None
        assert psi > 0.25
        assert all((drift.psi or 0.0) < 0.25 for drift in found[1:])


@pytest.mark.parametrize("runs", [100, pytest.param(1_000, marks=pytest.mark.statistics)])
def test_false_findings_are_as_rare_as_promised_and_many_without_the_correction(runs: int) -> None:
    rng, any_found, any_uncorrected = np.random.default_rng(2), 0, 0

    for _ in range(runs):
        found = drifts(a_period(rng), a_period(rng))
        assert len(found) == 20
        any_found += any(drift.is_significant for drift in found)
        any_uncorrected += any(drift.p_value <= 0.05 for drift in found)

    assert any_found / runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)
    assert any_uncorrected / runs > 0.3


def test_a_share_that_fell_is_said_with_its_sign() -> None:
    reference = Period(accepted={"all": np.repeat([True, False], [80, 20])})
    current = Period(accepted={"all": np.repeat([True, False], [50, 50])})

    (found,) = drifts(reference, current)

    assert found.statistic == pytest.approx(-0.3)
    assert found.p_value < 1e-4
    assert found.psi is None
    assert (found.reference_n, found.current_n) == (100, 100)


def test_a_class_that_nobody_ever_saw_is_a_change() -> None:
    reference = Period(classes={"all": np.repeat(["car", "tram"], [300, 100])})
    current = Period(classes={"all": np.repeat(["car", "tram", "scooter"], [300, 100, 40])})

    (found,) = drifts(reference, current)

    assert found.is_significant
    assert found.psi is not None
    assert found.psi > 0.1


def test_rare_classes_are_tested_together() -> None:
    # Forty classes with one label each on either side: chi-square of single cells would be far from the truth.
    names = np.array([f"c{number}" for number in range(80)])

    (found,) = drifts(
        Period(classes={"all": np.append(np.repeat("car", 300), names[:40])}),
        Period(classes={"all": np.append(np.repeat("car", 300), names[40:])}),
    )

    assert found.p_value == pytest.approx(1.0)


def test_one_class_alone_cannot_change() -> None:
    (found,) = drifts(Period(classes={"all": np.array(["car"] * 9)}), Period(classes={"all": np.array(["car"] * 5)}))

    assert (found.statistic, found.p_value) == (0.0, 1.0)
    assert found.psi == pytest.approx(0.0, abs=1e-12)


def test_what_only_one_period_has_is_not_compared() -> None:
    rng = np.random.default_rng(3)
    reference = Period(scores={"day": rng.random(10), "night": rng.random(10)}, accepted={"day": np.ones(3, bool)})

    found = drifts(reference, Period(scores={"day": rng.random(20), "rain": rng.random(5), "night": np.zeros(0)}))

    assert [(drift.what, drift.slice) for drift in found] == [("scores", "day")]
    assert drifts(Period(), Period()) == []


def test_scores_that_are_all_the_same_have_not_changed() -> None:
    (found,) = drifts(Period(scores={"all": np.ones(50)}), Period(scores={"all": np.ones(70)}))

    assert found.p_value == pytest.approx(1.0)
    assert not found.is_significant


def test_large_periods_are_compared_too() -> None:
    rng = np.random.default_rng(4)
    before, now = rng.random(60_000), rng.random(60_000)

    (same,) = drifts(Period(scores={"all": before}), Period(scores={"all": now}))
    (other,) = drifts(Period(scores={"all": before}), Period(scores={"all": now**1.1}))

    assert not same.is_significant
    assert other.is_significant


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30))
def test_corrected_p_values_are_those_of_statsmodels(values: list[float]) -> None:
    from statsmodels.stats.multitest import multipletests

    p_values = np.array(values)

    np.testing.assert_allclose(holm(p_values), np.asarray(multipletests(p_values, method="holm")[1]), atol=1e-12)


def test_a_level_that_is_no_probability_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="level must be"):
        drifts(Period(), Period(), level=1.0)
