"""Checks that the answers to audits are counted as what they stand for, and break a promise that does not hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pytest

from pipelines.audit import reviewer_sensitivity
from pipelines.policy.audited import AuditedItem, audit_report, verdict
from pipelines.policy.certified import CertifiedPolicy
from pipelines.policy.terms import Mode, Terms
from pipelines.types import Route
from tests.pipelines.policy.builders import a_policy

ROUTES: dict[Route, int] = {"accept": 900, "audit": 100, "review": 500}


def an_audit(loss: float, *, rate: float = 0.1, is_uniform: bool = True) -> AuditedItem:
    return AuditedItem(route="audit", propensity=rate, uniform_rate=rate if is_uniform else None, loss=loss)


def a_review(loss: float) -> AuditedItem:
    return AuditedItem(route="review", propensity=1.0, uniform_rate=0.1, loss=loss)


def a_stream(rate: float, n: int, rng: np.random.Generator) -> list[AuditedItem]:
    return [an_audit(float(flag)) for flag in rng.uniform(size=n) < rate]


def policy_of(mode: Mode, *, audits: Literal["blind", "shown"] = "blind") -> CertifiedPolicy:
    return a_policy(terms=Terms(queue="t", mode=mode, audit_rate=0.1, audits=audits))


def test_the_estimates_count_every_audit_for_as_many_items_as_it_was_drawn_from() -> None:
    items = [an_audit(1.0)] * 5 + [an_audit(0.0)] * 85 + [an_audit(1.0, rate=1.0, is_uniform=False)] * 10

    report = audit_report(policy_of("dataset_error"), items, ROUTES)

    assert (report.verdict.n_audited, report.verdict.n_wrong) == (100, 15)
    assert report.accepted_error is not None and report.accepted_error.error == pytest.approx((5 * 10 + 10) / 1_000)
    assert report.dataset_error is not None and report.dataset_error.error == pytest.approx(60 / 1_500)
    # Those beyond the random sample say nothing of the rest of the batch.
    assert report.remaining is not None
    assert (report.remaining.n_audited, report.remaining.errors) == (90, 5)


def test_wrong_pre_labels_that_were_sent_to_review_are_no_evidence_against_the_data_set() -> None:
    harmless = [a_review(1.0)] * 200

    assert verdict(policy_of("dataset_error"), harmless).e_value < 1.0
    assert verdict(policy_of("dataset_error"), [an_audit(1.0)] * 20).is_broken


def test_the_error_of_the_accepted_is_about_audits_alone() -> None:
    diluted = [
        item for number in range(40) for item in (a_review(0.0), a_review(0.0), an_audit(float(number % 8 == 7)))
    ]

    strict = verdict(policy_of("accepted_error"), diluted)
    lax = verdict(policy_of("dataset_error"), diluted)

    assert strict.e_value > 2.0 * lax.e_value


@pytest.mark.parametrize("runs", [150, pytest.param(2_000, marks=pytest.mark.statistics)])
def test_looking_after_every_answer_seldom_breaks_a_promise_that_holds_and_soon_one_that_does_not(runs: int) -> None:
    policy, rng = policy_of("dataset_error"), np.random.default_rng(3)

    held = [_broken_after(policy, a_stream(0.05, 600, rng)) for _ in range(runs)]
    doubled = [_broken_after(policy, a_stream(0.10, 1_000, rng)) for _ in range(runs)]

    assert sum(after is not None for after in held) / runs <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)
    assert np.median([after if after is not None else 10_000 for after in doubled]) <= 250


def _broken_after(policy: CertifiedPolicy, items: Sequence[AuditedItem]) -> int | None:
    """After how many answers; the report tells of any moment on the way, so its halves find the first."""
    if not verdict(policy, items).is_broken:
        return None
    low, high = 1, len(items)
    while low < high:
        middle = (low + high) // 2
        if verdict(policy, items[:middle]).is_broken:
            high = middle
        else:
            low = middle + 1
    return low


def test_reviewers_who_see_the_pre_labels_and_overlook_errors_tighten_the_promise_they_can_vouch_for() -> None:
    stream = [an_audit(float(n % 20 == 0)) for n in range(400)]  # 5 % are found wrong, by people who find half

    blind = verdict(policy_of("dataset_error"), stream)
    shown = verdict(
        policy_of("dataset_error", audits="shown"), stream, reviewers=reviewer_sensitivity(50, 100, delta=0.025)
    )

    assert not blind.is_broken
    assert shown.alpha < 0.025 and shown.is_broken


def test_shown_audits_without_planted_errors_vouch_for_nothing() -> None:
    report = verdict(policy_of("dataset_error", audits="shown"), [an_audit(1.0)] * 50)

    assert report.alpha == 0.0 and report.e_value == 1.0
