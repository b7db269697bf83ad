"""Checks that a policy is fitted on what may be used for it, and that its promise holds for new items."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipelines.audit import reviewer_sensitivity
from pipelines.policy.evidence import Evidence
from pipelines.policy.fit import Fit, Fitted, fit
from pipelines.policy.scoring import score, scored_again
from pipelines.policy.terms import Terms, Tier
from tests.pipelines.policy.builders import CONDITIONS, NOW, some_evidence

TERMS = Terms(queue="texts", alpha=0.05, delta=0.1, min_n=50)


def fitted(evidence: Evidence, *, terms: Terms = TERMS, **changes: object) -> Fitted:
    this = Fit(task="ner", terms=terms, conditions=CONDITIONS, round=1, seed="seed", now=NOW)
    return fit(evidence, replace(this, **changes))


def threshold(one: Fitted, slice_: str = "") -> float:
    return one.policy.certificates[slice_].threshold


def test_what_calibrates_does_not_certify() -> None:
    evidence = some_evidence(1_000, rng=np.random.default_rng(1))

    one = fitted(evidence)

    assert one.calibration is not None and one.policy.calibration_id == one.calibration.id
    assert not set(one.calibrated_on) & set(one.certified_on)
    assert set(one.calibrated_on) | set(one.certified_on) == {judged.prelabel_id for judged in evidence.judged}
    assert 0.3 < len(one.calibrated_on) / 1_000 < 0.5
    assert one.policy.certificates[""].n == len(one.certified_on)


def test_an_item_calibrates_or_certifies_alike_in_every_round() -> None:
    evidence = some_evidence(600, rng=np.random.default_rng(2))
    fewer = replace(evidence, judged=list(evidence.judged)[:400])

    first, second = fitted(fewer), fitted(evidence, round=2)

    assert set(first.calibrated_on) <= set(second.calibrated_on)
    assert set(first.certified_on) <= set(second.certified_on)


def test_too_few_answers_leave_the_models_own_scores_and_use_all_answers_to_certify() -> None:
    one = fitted(some_evidence(60, rng=np.random.default_rng(3)))

    assert one.calibration is None and one.policy.calibration_id is None
    assert one.uncalibrated is not None and "missing" in one.uncalibrated
    assert len(one.certified_on) == 60


def test_a_later_round_is_stricter_because_delta_is_spent() -> None:
    evidence = some_evidence(800, rng=np.random.default_rng(4))

    deltas = [fitted(evidence, round=number).policy.certificates[""].delta for number in (1, 2, 3)]

    assert deltas == [0.05, 0.025, 0.0125]
    assert sum(0.1 / 2**number for number in range(1, 50)) <= 0.1


def test_slices_share_delta_and_have_thresholds_of_their_own() -> None:
    evidence = some_evidence(2_000, rng=np.random.default_rng(5), meta=[{"source": "a"}, {"source": "b"}])
    # What comes from b is always right: much of it can be accepted, whatever becomes of a.
    judged = [
        one if one.item.meta["source"] == "a" else replace(one, answer=one.pre_label.prediction.annotations)
        for one in evidence.judged
    ]

    one = fitted(replace(evidence, judged=judged), terms=replace(TERMS, slices=("source",)))

    assert one.policy.certificates.keys() == {"source=a", "source=b"}
    assert {certificate.delta for certificate in one.policy.certificates.values()} == {0.025}
    assert threshold(one, "source=b") < threshold(one, "source=a")


def test_what_nobody_could_answer_counts_as_wrong() -> None:
    evidence = some_evidence(800, rng=np.random.default_rng(6), error_at=0.02)
    unanswered = [replace(one, answer=None) if n % 4 == 0 else one for n, one in enumerate(evidence.judged)]

    good, bad = fitted(evidence), fitted(replace(evidence, judged=unanswered))

    assert good.policy.certificates[""].coverage > 0.9
    assert bad.set_aside > 0 and bad.policy.certificates[""].coverage < 0.4


def test_items_that_a_tier_keeps_for_humans_cannot_be_accepted_wrongly() -> None:
    evidence = some_evidence(
        800, rng=np.random.default_rng(7), error_at=0.02, meta=[{"age": "child"}, {"age": "adult"}]
    )
    # Every child's pre-label is wrong.
    judged = [replace(one, answer=()) if one.item.meta["age"] == "child" else one for one in evidence.judged]
    wrong_half = replace(evidence, judged=judged)
    keeps = replace(TERMS, tiers=(Tier(name="children", where={"age": "child"}, is_always_reviewed=True),))

    without, with_tier = fitted(wrong_half), fitted(wrong_half, terms=keeps)

    assert without.policy.certificates[""].coverage < 0.2
    assert 0.4 < with_tier.policy.certificates[""].coverage < 0.55


def test_sources_that_were_seen_are_noted() -> None:
    evidence = some_evidence(200, rng=np.random.default_rng(8), meta=[{"camera": "a"}, {"camera": "b"}])

    one = fitted(evidence, terms=replace(TERMS, source="camera"))

    assert one.policy.conditions.sources == ("a", "b")


def test_groups_count_as_one_label_each() -> None:
    evidence = some_evidence(1_000, rng=np.random.default_rng(9), meta=[{"video": str(n)} for n in range(100)])

    one = fitted(evidence, terms=replace(TERMS, group="video", min_n=10))

    assert one.policy.certificates[""].n <= 100


def test_a_kept_calibration_certifies_on_none_of_what_it_was_fitted_to() -> None:
    """Also where the same items have been labelled again since, under other numbers."""
    evidence = some_evidence(600, rng=np.random.default_rng(11))
    first = fitted(evidence)
    again = replace(evidence, judged=[replace(one, prelabel_id=one.prelabel_id + 10_000) for one in evidence.judged])

    kept = fitted(again, round=2, calibration=first.calibration)

    assert kept.policy.calibration_id == first.policy.calibration_id
    assert {number - 10_000 for number in kept.certified_on} == set(first.certified_on)


def test_what_belongs_together_calibrates_or_certifies_together() -> None:
    evidence = some_evidence(600, rng=np.random.default_rng(12), meta=[{"video": str(n)} for n in range(60)])

    one = fitted(evidence, terms=replace(TERMS, group="video", min_n=10))

    video = {judged.prelabel_id: judged.item.meta["video"] for judged in evidence.judged}
    assert one.calibrated_on
    assert not {video[number] for number in one.calibrated_on} & {video[number] for number in one.certified_on}


def test_reviewers_who_see_and_overlook_errors_make_the_certificate_stricter() -> None:
    evidence = some_evidence(1_500, rng=np.random.default_rng(13))
    shown = replace(TERMS, audits="shown")

    unknown = fitted(evidence, terms=shown)
    half = fitted(evidence, terms=shown, reviewers=reviewer_sensitivity(60, 100, delta=0.05))

    assert not unknown.policy.certificates[""].is_certified
    assert half.policy.certificates[""].coverage < fitted(evidence).policy.certificates[""].coverage
    assert half.policy.certificates[""].bound <= 0.05 * 0.6


def test_a_slice_without_a_pool_is_reviewed_and_costs_the_others_nothing() -> None:
    evidence = some_evidence(1_000, rng=np.random.default_rng(14), meta=[{"source": "a"}, {"source": "b"}])
    pool = [(item, pre_label) for item, pre_label in evidence.pool if item.meta["source"] == "a"]
    terms = replace(TERMS, mode="accepted_error", slices=("source",))

    one = fitted(replace(evidence, pool=pool), terms=terms)

    assert not one.policy.certificates["source=b"].is_certified
    assert one.policy.certificates["source=a"].n > 100


@pytest.mark.parametrize("trials", [25, pytest.param(400, marks=pytest.mark.statistics)])
def test_the_promise_holds_for_new_items_and_a_threshold_chosen_by_eye_breaks_it(trials: int) -> None:
    fresh = some_evidence(20_000, rng=np.random.default_rng(10), pool=1)
    raw = np.array([score("ner", one.pre_label) for one in fresh.judged])
    is_wrong = np.array([one.answer != one.pre_label.prediction.annotations for one in fresh.judged])
    broken = by_eye = 0
    for trial in range(trials):
        evidence = some_evidence(300, rng=np.random.default_rng(100 + trial), pool=200)
        one = fitted(evidence, terms=replace(TERMS, alpha=0.05, delta=0.2))  # a tenth in the first round
        broken += float((is_wrong & (_scored(fresh, one, raw) >= threshold(one))).mean()) > 0.05
        by_eye += float((is_wrong & (raw >= _plug_in(evidence, alpha=0.05))).mean()) > 0.05

    assert broken / trials <= 0.1 + 3 * np.sqrt(0.09 / trials)
    assert by_eye / trials > 0.3


def _scored(fresh: Evidence, one: Fitted, raw: np.ndarray) -> np.ndarray:
    """What the policy scores items with, which have one feature, so that the order of 200 points says it all."""
    if one.calibration is None:
        return raw
    at = np.linspace(0.0, 1.0, 201)
    nearest = [int(np.abs(raw - value).argmin()) for value in at]
    scored = [score("ner", scored_again(fresh.judged[place].pre_label, one.calibration)) for place in nearest]
    return np.interp(raw, raw[nearest], scored)


def _plug_in(evidence: Evidence, *, alpha: float) -> float:
    """The lowest threshold at which the sample's own error is at most alpha."""
    scores = np.array([score("ner", one.pre_label) for one in evidence.judged])
    is_wrong = np.array([one.answer != one.pre_label.prediction.annotations for one in evidence.judged])
    order = np.argsort(-scores)
    error = np.cumsum(is_wrong[order]) / len(scores)
    fine = np.flatnonzero(error <= alpha)
    return float(scores[order][fine[-1]]) if len(fine) else 1.1
