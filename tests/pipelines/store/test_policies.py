"""Tests that policies are kept as they were fitted, and that what happened to them says what is in force."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from pipelines.errors import ConflictError, NotFoundError
from pipelines.policy.fit import Fit, Fitted, fit
from pipelines.policy.terms import Terms
from pipelines.store.policies import AUDITS, Policies
from pipelines.store.store import Store
from tests.pipelines.policy.builders import CONDITIONS, NOW, a_certificate, some_evidence


def a_fitted(*, round: int = 1, n: int = 400, seed: str = "seed") -> Fitted:
    terms = Terms(queue="texts", alpha=0.05, delta=0.1, min_n=50)
    this = Fit(task="ner", terms=terms, conditions=CONDITIONS, round=round, seed=seed, now=NOW)
    return fit(some_evidence(n, rng=np.random.default_rng(1), pool=200), this)


@pytest.fixture
def policies(store: Store) -> Policies:
    return Policies(store)


async def test_a_policy_and_its_calibration_come_back_as_they_were_fitted(policies: Policies) -> None:
    fitted = a_fitted()
    assert fitted.calibration is not None

    await policies.add(fitted)
    stored = await policies.get(fitted.policy.id)

    assert (stored.policy, stored.calibration) == (fitted.policy, fitted.calibration)
    assert (stored.policy.id, stored.calibration and stored.calibration.id) == (fitted.policy.id, fitted.calibration.id)
    assert stored.evidence["certified_on"] == list(fitted.certified_on)
    assert (stored.state, stored.events) == ("fitted", ())


async def test_the_order_in_which_the_database_keeps_keys_changes_no_id(policies: Policies) -> None:
    """PostgreSQL puts short keys before long ones."""
    fitted = a_fitted()
    assert fitted.calibration is not None and fitted.calibration.labels is not None
    pooled = fitted.calibration.labels.pooled
    labels = replace(fitted.calibration.labels, own={"organisation": pooled, "date": pooled, "person": pooled})
    calibration = replace(fitted.calibration, labels=labels)
    policy = replace(
        fitted.policy,
        calibration_id=calibration.id,
        certificates={"source=longest": a_certificate(), "source=b": a_certificate(0.5)},
    )
    await policies.add(replace(fitted, policy=policy, calibration=calibration))

    stored = await policies.get(policy.id)

    assert stored.calibration is not None and list(stored.calibration.labels.own) != list(labels.own)  # type: ignore[union-attr]
    assert (stored.policy.id, stored.calibration.id) == (policy.id, calibration.id)


async def test_a_threshold_that_accepts_nothing_survives(policies: Policies) -> None:
    fitted = a_fitted()
    nothing = replace(fitted, policy=replace(fitted.policy, certificates={"": a_certificate(math.inf)}))

    await policies.add(nothing)

    assert (await policies.get(nothing.policy.id)).policy == nothing.policy


async def test_a_fitted_policy_is_in_force_only_once_it_is_activated(policies: Policies) -> None:
    fitted = a_fitted()
    await policies.add(fitted)

    before = await policies.in_force()
    await policies.activate(fitted.policy.id, actor="ada")
    after = await policies.in_force()

    assert before == {}
    assert after["ner"].policy == fitted.policy and after["ner"].calibration == fitted.calibration
    assert after["ner"].suspended is None


async def test_another_activation_supersedes_and_a_retirement_ends(policies: Policies) -> None:
    first, second = a_fitted(), a_fitted(round=2, seed="second")
    for one in (first, second):
        await policies.add(one)
        await policies.activate(one.policy.id, actor="ada")

    states = {one.policy.id: one.state for one in await policies.list(task="ner")}
    in_force = (await policies.in_force())["ner"].policy.id
    await policies.retire(second.policy.id, actor="ada")

    assert states == {first.policy.id: "superseded", second.policy.id: "active"}
    assert in_force == second.policy.id
    assert await policies.in_force() == {}


async def test_a_suspension_is_said_once_and_holds_for_runs_that_began_with_the_policy(policies: Policies) -> None:
    first, second = a_fitted(), a_fitted(round=2, seed="second")
    for one in (first, second):
        await policies.add(one)
        await policies.activate(one.policy.id, actor="ada")

    could = [await policies.suspend(first.policy.id, actor="ada", reason="why") for _ in range(2)]
    old, new = await policies.standing(first.policy.id), (await policies.in_force())["ner"]

    assert could == [True, False]
    assert old is not None and old.suspended == "why"
    assert (new.policy.id, new.suspended) == (second.policy.id, None)


async def test_a_policy_that_was_suspended_by_hand_can_be_activated_again(policies: Policies) -> None:
    fitted = a_fitted()
    await policies.add(fitted)
    await policies.activate(fitted.policy.id, actor="ada")
    await policies.suspend(fitted.policy.id, actor="ada", reason="a holiday")
    suspended = (await policies.in_force())["ner"].suspended

    await policies.activate(fitted.policy.id, actor="ada")

    assert suspended == "a holiday"
    assert (await policies.in_force())["ner"].suspended is None
    stored = await policies.get(fitted.policy.id)
    assert [event.action for event in stored.events] == ["activated", "suspended", "activated"]


async def test_a_policy_whose_audits_broke_its_promise_is_never_activated_again(policies: Policies) -> None:
    fitted = a_fitted()
    await policies.add(fitted)
    await policies.activate(fitted.policy.id, actor="ada")
    await policies.suspend(fitted.policy.id, actor=AUDITS, reason="9 of 40 audited items were wrong")

    with pytest.raises(ConflictError, match="9 of 40 audited items were wrong") as refused:
        await policies.activate(fitted.policy.id, actor="ada")

    assert refused.value.code == "promise_broken"


async def test_every_fit_is_a_round_of_its_own(policies: Policies) -> None:
    rounds = [await policies.next_round("ner")]
    await policies.add(a_fitted())
    rounds.append(await policies.next_round("ner"))

    with pytest.raises(ConflictError) as refused:
        await policies.add(a_fitted(seed="another"))

    assert rounds == [1, 2]
    assert refused.value.code == "round_taken"


async def test_policies_and_what_happened_to_them_are_written_once(store: Store, policies: Policies) -> None:
    fitted = a_fitted()
    await policies.add(fitted)
    await policies.activate(fitted.policy.id, actor="ada")

    for statement in (
        "UPDATE policies SET round = 9",
        "DELETE FROM policy_events",
        "UPDATE calibrations SET task = 'speech'",
    ):
        with pytest.raises(DBAPIError, match="written once"):
            async with store.engine.begin() as connection:
                await connection.execute(text(statement))


async def test_an_unknown_policy_is_not_found(policies: Policies) -> None:
    for ask in (
        policies.get("none"),
        policies.activate("none", actor="ada"),
        policies.suspend("none", actor="ada", reason="x"),
        policies.retire("none", actor="ada"),
    ):
        with pytest.raises(NotFoundError, match="no policy 'none'"):
            await ask
    assert await policies.standing("none") is None
