"""Checks that decisions follow the thresholds and say which figure decided."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from models.types import Annotation, Item, Prediction, WholeItem
from pipelines.policy import ThresholdPolicy
from pipelines.types import PreLabel, Provenance

ITEM = Item(id="one", media="image", uri="file:///one.png")
POLICY = ThresholdPolicy(
    queue="images", accept_score=0.6, labels={"cross": 0.8}, accept_no_miss=0.5, accept_nothing_found=0.7
)


def a_pre_label(*scored: tuple[str, float], no_miss: float = 1.0) -> PreLabel:
    annotations = tuple(
        Annotation(id=str(n), label=label, geometry=WholeItem(), score=score) for n, (label, score) in enumerate(scored)
    )
    provenance = Provenance(
        model="m",
        model_version="1",
        weights_digest="w",
        config_digest="c",
        calibration_id=None,
        policy_id=POLICY.id,
        item_digest="d",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    prediction = Prediction(annotations=annotations, signals={"no_miss": no_miss})
    return PreLabel(prediction=prediction, confidence=None, calibrated=False, uncertainty={}, provenance=provenance)


def test_an_item_is_accepted_when_its_weakest_label_clears_the_threshold() -> None:
    decision = POLICY.decide(ITEM, "detection", a_pre_label(("circle", 0.9), ("square", 0.61)))

    assert decision.route == "accept"
    assert decision.queue is None
    assert "square #1 scored 0.61 (needs 0.60)" in decision.reason


def test_a_weak_label_sends_its_item_to_review() -> None:
    decision = POLICY.decide(ITEM, "detection", a_pre_label(("circle", 0.9), ("square", 0.59)))

    assert (decision.route, decision.queue) == ("review", "images")
    assert decision.reason == "square #1 scored 0.59, below 0.60"


def test_a_label_may_have_a_threshold_of_its_own() -> None:
    decision = POLICY.decide(ITEM, "detection", a_pre_label(("circle", 0.65), ("cross", 0.75)))

    assert decision.route == "review"
    assert decision.threshold == 0.8


def test_a_likely_miss_sends_the_item_to_review() -> None:
    decision = POLICY.decide(ITEM, "detection", a_pre_label(("circle", 0.9), no_miss=0.3))

    assert decision.route == "review"
    assert "missing" in decision.reason


def test_nothing_found_is_accepted_only_when_the_model_is_sure_of_it() -> None:
    sure, unsure = a_pre_label(no_miss=0.75), a_pre_label(no_miss=0.65)

    assert POLICY.decide(ITEM, "detection", sure).route == "accept"
    assert POLICY.decide(ITEM, "detection", unsure).route == "review"


@given(st.lists(st.tuples(st.sampled_from(["circle", "cross"]), st.floats(0, 1)), max_size=6), st.floats(0, 1))
def test_every_accepted_item_clears_every_threshold(scored: list[tuple[str, float]], no_miss: float) -> None:
    decision = POLICY.decide(ITEM, "detection", a_pre_label(*scored, no_miss=no_miss))

    clears_all = all(score >= POLICY.labels.get(label, POLICY.accept_score) for label, score in scored)
    needed = POLICY.accept_no_miss if scored else POLICY.accept_nothing_found
    assert (decision.route == "accept") == (clears_all and no_miss >= needed)
    assert decision.reason


def test_another_threshold_is_another_policy() -> None:
    assert ThresholdPolicy(queue="images", accept_score=0.7).id != ThresholdPolicy(queue="images", accept_score=0.6).id


def test_a_score_that_is_no_number_is_never_accepted() -> None:
    weak_and_none = a_pre_label(("circle", 0.9), ("square", float("nan")))

    assert POLICY.decide(ITEM, "detection", weak_and_none).route == "review"
    assert POLICY.decide(ITEM, "detection", a_pre_label(("circle", 0.9), no_miss=float("nan"))).route == "review"
    assert POLICY.decide(ITEM, "detection", a_pre_label(no_miss=float("nan"))).route == "review"


def test_without_the_signal_that_it_asks_for_the_policy_accepts_nothing() -> None:
    pre_label = a_pre_label(("circle", 0.9))
    blind = replace(pre_label, prediction=replace(pre_label.prediction, signals={}))

    decision = POLICY.decide(ITEM, "detection", blind)

    assert (decision.route, decision.reason) == ("review", "nothing says whether a label is missing")
    assert replace(POLICY, accept_no_miss=0.0).decide(ITEM, "detection", blind).route == "accept"
