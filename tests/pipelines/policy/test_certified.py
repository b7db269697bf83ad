"""Checks that a certified policy accepts what its certificate covers, draws audits evenly, and explains itself."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.types import Prompts
from pipelines.policy.certified import POLICY, CertifiedPolicy
from pipelines.policy.suspended import SuspendedPolicy
from pipelines.policy.terms import Terms, Tier
from pipelines.types import Decision, PreLabel
from tests.pipelines.policy.builders import CONDITIONS, a_certificate, a_policy, a_pre_label, an_item

NEVER_AUDITED = Terms(queue="texts", audit_rate=1e-9)


def decided(policy: CertifiedPolicy, pre_label: PreLabel, item_id: str = "one", **meta: str) -> Decision:
    return policy.decide(an_item(item_id, **meta), "ner", pre_label)


def test_what_reaches_the_threshold_is_accepted_with_the_promise_in_its_reason() -> None:
    policy = a_policy(terms=NEVER_AUDITED)

    at, below = decided(policy, a_pre_label(0.8)), decided(policy, a_pre_label(0.79999))

    assert (at.route, at.queue, at.threshold) == ("accept", None, 0.8)
    assert at.reason == (
        "scored 0.800, needs 0.800; at most 5.0% of all items are accepted wrongly, with 97.5 % confidence"
    )
    assert (below.route, below.queue, below.propensity) == ("review", "texts", 1.0)


def test_a_policy_without_a_threshold_reviews_everything_and_says_what_is_missing() -> None:
    policy = a_policy(certificates={"": a_certificate(math.inf, labels_needed=180)})

    decision = decided(policy, a_pre_label(1.0))

    assert decision.route == "review"
    assert "about 180 more random labels" in decision.reason


def test_audits_are_drawn_at_their_rate_and_independently_of_the_score() -> None:
    policy, rng = a_policy(terms=Terms(queue="texts", audit_rate=0.2)), np.random.default_rng(5)
    scores = rng.uniform(0.0, 1.0, 4_000)
    decisions = [decided(policy, a_pre_label(float(score)), f"item {n}") for n, score in enumerate(scores)]

    is_drawn = np.array([one.uniform_rate is not None for one in decisions])
    is_accepted = scores >= 0.8
    audited = np.array([one.route == "audit" for one in decisions])

    assert abs(is_drawn.mean() - 0.2) < 3 * math.sqrt(0.2 * 0.8 / 4_000)
    assert abs(is_drawn[is_accepted].mean() - is_drawn[~is_accepted].mean()) < 4 * math.sqrt(0.16 / 800)
    assert (audited == (is_drawn & is_accepted)).all()
    assert all(one.propensity == 0.2 for one, accepted in zip(decisions, is_accepted, strict=True) if accepted)


def test_the_whole_random_sample_is_reviewed_blind_whatever_it_scores() -> None:
    policy = a_policy(terms=Terms(queue="texts", audit_rate=0.5))
    decisions = [decided(policy, a_pre_label(0.9 if n % 2 else 0.1), f"item {n}") for n in range(200)]

    drawn = [one for one in decisions if one.uniform_rate is not None]
    others = [one for one in decisions if one.uniform_rate is None]

    assert {one.route for one in drawn} == {"audit", "review"} and all(one.is_blind for one in drawn)
    assert {one.route for one in others} == {"accept", "review"} and not any(one.is_blind for one in others)


def test_an_item_is_drawn_alike_whenever_it_comes_and_otherwise_under_another_seed() -> None:
    first = [decided(a_policy(), a_pre_label(0.9), f"item {n}").draw for n in range(50)]
    again = [decided(a_policy(), a_pre_label(0.9), f"item {n}").draw for n in range(50)]
    other = [decided(a_policy(seed="other"), a_pre_label(0.9), f"item {n}").draw for n in range(50)]

    assert first == again
    assert len(set(first)) == 50 and not set(first) & set(other)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            {"chain": ("tagger@2:cccccccccccc",)},
            "the models and their configurations are tagger@2:cccccccccccc, and were tagger@1",
        ),
        ({"config_digest": "other"}, "the configuration of model 'tagger' has changed"),
        ({"rules_digest": "other"}, "the sanity rules have changed"),
        ({"ontology_digest": "other"}, "the ontology has changed"),
    ],
)
def test_another_model_configuration_rules_or_ontology_voids_the_certificate(change: dict[str, str], why: str) -> None:
    sure = a_pre_label(0.99)
    changed = replace(sure, provenance=replace(sure.provenance, **change))

    decision = decided(a_policy(terms=NEVER_AUDITED), changed)

    assert decided(a_policy(terms=NEVER_AUDITED), sure).route == "accept"
    assert decision.route == "review"
    assert decision.reason.startswith("the certificate does not hold here:") and why in decision.reason


def test_another_calibration_and_another_source_are_reviewed() -> None:
    sure = a_pre_label(0.99)
    recalibrated = replace(sure, provenance=replace(sure.provenance, calibration_id="calibration-2"))
    by_source = replace(
        a_policy(), terms=Terms(queue="t", source="camera"), conditions=replace(CONDITIONS, sources=("a",))
    )

    assert decided(a_policy(), recalibrated).route == "review"
    assert decided(by_source, sure, camera="b").reason.endswith("nothing is certified for camera 'b'")
    assert decided(by_source, sure, camera="a").route in ("accept", "audit")


def test_an_item_that_asks_for_some_labels_alone_is_no_item_of_the_certificate() -> None:
    item = replace(an_item(), prompts=Prompts(labels=("person",)))

    assert a_policy().decide(item, "ner", a_pre_label(0.99)).route == "review"


def test_each_slice_has_its_own_threshold_and_an_unknown_one_is_reviewed() -> None:
    policy = a_policy(
        terms=Terms(queue="texts", audit_rate=1e-9, slices=("source",)),
        certificates={"source=a": a_certificate(0.5), "source=b": a_certificate(0.95)},
    )

    assert decided(policy, a_pre_label(0.9), source="a").route == "accept"
    assert decided(policy, a_pre_label(0.9), source="b").route == "review"
    assert decided(policy, a_pre_label(0.9), source="c").reason == "nothing is certified for source=c"


def test_a_tier_of_high_risk_asks_for_more_and_has_its_own_people() -> None:
    drug = Tier(name="drugs", labels=("drug",), min_confidence=0.95, audit_rate=1.0, queue="experts")
    policy = a_policy(terms=Terms(queue="texts", audit_rate=1e-9, tiers=(drug,)))

    weak, sure = decided(policy, a_pre_label(0.9, label="drug")), decided(policy, a_pre_label(0.99, label="drug"))

    assert decided(policy, a_pre_label(0.9)).route == "accept"
    assert (weak.route, weak.queue) == ("review", "experts") and "tier 'drugs' needs 0.950" in weak.reason
    assert (sure.route, sure.queue, sure.propensity) == ("audit", "experts", 1.0)
    assert sure.uniform_rate is None  # drawn for what it is, so it is no member of the random sample


def test_a_tiers_quota_bounds_what_its_queue_gets() -> None:
    tier = Tier(name="all", queue="experts", quota=0.25)
    policy = a_policy(terms=Terms(queue="texts", audit_rate=1e-9, tiers=(tier,)))

    queues = [decided(policy, a_pre_label(0.1), f"item {n}").queue for n in range(2_000)]

    assert abs(queues.count("experts") / 2_000 - 0.25) < 0.03
    assert set(queues) == {"experts", "texts"}


def test_a_tier_can_keep_everything_for_humans() -> None:
    policy = a_policy(
        terms=Terms(
            queue="t", audit_rate=1e-9, tiers=(Tier(name="minors", where={"age": "child"}, is_always_reviewed=True),)
        )
    )

    assert decided(policy, a_pre_label(1.0), age="child").route == "review"
    assert decided(policy, a_pre_label(1.0), age="adult").route == "accept"


def test_a_pre_label_that_would_slow_a_human_down_is_hidden_but_an_accepted_one_is_not() -> None:
    policy = a_policy(terms=Terms(queue="texts", audit_rate=1e-9, scratch={"expected_wer": 0.3}))
    bad = {"expected_wer": 0.31}

    hidden, shown = decided(policy, a_pre_label(0.1, uncertainty=bad)), decided(policy, a_pre_label(0.1))

    assert (hidden.route, hidden.is_blind) == ("scratch", True)
    assert "expected_wer is 0.31, above 0.30" in hidden.reason
    assert (shown.route, shown.is_blind) == ("review", False)
    assert decided(policy, a_pre_label(0.9, uncertainty=bad)).route == "accept"


def test_a_suspended_policy_accepts_nothing_and_goes_on_drawing() -> None:
    policy = a_policy(terms=Terms(queue="texts", audit_rate=0.5))
    suspended = SuspendedPolicy(policy=policy, why="its audits were wrong")

    decisions = [suspended.decide(an_item(f"item {n}"), "ner", a_pre_label(1.0)) for n in range(100)]

    assert {one.route for one in decisions} == {"review"}
    assert {one.policy_id for one in decisions} == {policy.id}
    assert "its audits were wrong" in decisions[0].reason
    assert 20 < sum(one.uniform_rate is not None for one in decisions) < 80


def test_a_policy_comes_back_from_json_the_same_with_thresholds_that_accept_nothing() -> None:
    policy = a_policy(certificates={"": a_certificate(math.inf), "b": a_certificate(1e-7)})

    again = POLICY.validate_json(POLICY.dump_json(policy))

    assert again == policy and again.id == policy.id


@given(score=st.floats(0.0, 1.0), item=st.text(max_size=20))
def test_nothing_below_the_threshold_is_ever_accepted(score: float, item: str) -> None:
    decision = decided(a_policy(), a_pre_label(score), item)

    assert (decision.route in ("accept", "audit")) == (score >= 0.8)
    assert 0.0 <= (decision.draw or 0.0) < 1.0
