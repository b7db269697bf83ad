"""Checks which policy and calibration a task has, as the store changes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest

from models.types import Task
from pipelines.errors import StoreUnavailableError
from pipelines.policy import ThresholdPolicy
from pipelines.policy.in_force import InForce, Pinned
from pipelines.policy.standing import Standing
from pipelines.policy.suspended import SuspendedPolicy
from pipelines.policy.terms import Terms
from tests.pipelines.policy.builders import a_policy

CONFIGURED = ThresholdPolicy(queue="texts", accept_score=0.5)
STANDING = Standing(policy=a_policy(), calibration=None, suspended=None)


class Stands:
    """A store that says what it is told to."""

    def __init__(self, **standings: Standing) -> None:
        self.standings: dict[str, Standing] = standings
        self.is_away = False

    async def in_force(self) -> Mapping[Task, Standing]:
        if self.is_away:
            raise StoreUnavailableError
        return {"ner": self.standings["ner"]} if "ner" in self.standings else {}

    async def standing(self, policy_id: str) -> Standing | None:
        if self.is_away:
            raise StoreUnavailableError
        return next((one for one in self.standings.values() if one.policy.id == policy_id), None)


def an_in_force(stands: Stands, *, pinned: Pinned | None = None, terms: Terms | None = None) -> InForce:
    return InForce(
        stands,
        configured={"ner": CONFIGURED},
        terms={"ner": terms} if terms else {},
        pinned={"ner": pinned} if pinned else None,
    )


async def test_without_a_certified_policy_the_configuration_decides() -> None:
    force = an_in_force(Stands())

    await force.look()

    assert force.policies["ner"] == CONFIGURED


async def test_an_activated_policy_decides_from_the_next_look_on_and_a_retired_one_no_more() -> None:
    stands = Stands()
    force = an_in_force(stands)
    await force.look()
    policies = force.policies

    stands.standings["ner"] = STANDING
    await force.look()
    after_activation = policies["ner"]
    del stands.standings["ner"]
    await force.look()

    assert after_activation == STANDING.policy
    assert policies["ner"] == CONFIGURED


async def test_a_suspended_policy_sends_everything_to_humans() -> None:
    force = an_in_force(Stands(ner=replace(STANDING, suspended="its audits were wrong")))

    await force.look()

    assert force.policies["ner"] == SuspendedPolicy(policy=STANDING.policy, why="its audits were wrong")


async def test_another_guideline_voids_a_policy() -> None:
    force = an_in_force(Stands(ner=STANDING), terms=Terms(queue="texts", guideline="v2"))

    await force.look()

    policy = force.policies["ner"]
    assert isinstance(policy, SuspendedPolicy)
    assert policy.why == "the guideline is 'v2' now, and was '' when the policy was certified"


async def test_a_run_stays_with_the_policy_it_began_with_and_is_told_of_its_suspension() -> None:
    newer = replace(STANDING, policy=a_policy(seed="newer"))
    stands = Stands(ner=newer, old=STANDING)
    force = an_in_force(stands, pinned=Pinned(policy_id=STANDING.policy.id, standing=STANDING))

    await force.look()
    before = force.policies["ner"]
    stands.standings["old"] = replace(STANDING, suspended="broken")
    await force.look()

    assert before == STANDING.policy
    assert force.policies["ner"] == SuspendedPolicy(policy=STANDING.policy, why="broken")


async def test_a_run_that_began_under_the_configuration_stays_with_that() -> None:
    force = an_in_force(Stands(ner=STANDING), pinned=Pinned(policy_id=CONFIGURED.id, standing=None))

    await force.look()

    assert force.policies["ner"] == CONFIGURED


async def test_a_pinned_policy_is_known_while_the_store_is_away_and_nothing_else_is() -> None:
    stands = Stands(ner=STANDING)
    stands.is_away = True

    async with an_in_force(stands, pinned=Pinned(policy_id=STANDING.policy.id, standing=STANDING)).looking() as force:
        assert force.policies["ner"] == STANDING.policy
    with pytest.raises(StoreUnavailableError):
        async with an_in_force(stands).looking():
            pass


async def test_it_keeps_looking_and_outlives_a_store_that_is_away_for_a_moment() -> None:
    stands = Stands(ner=STANDING)

    async with an_in_force(stands).looking(look_s=0.01) as force:
        stands.is_away = True
        await asyncio.sleep(0.05)
        while_away = force.policies["ner"]
        stands.is_away = False
        stands.standings["ner"] = replace(STANDING, suspended="broken")
        async with asyncio.timeout(5.0):
            while not isinstance(force.policies["ner"], SuspendedPolicy):  # noqa: ASYNC110 - nothing tells of a look
                await asyncio.sleep(0.01)

    assert while_away == STANDING.policy


async def test_who_cannot_tell_what_is_in_force_accepts_nothing() -> None:
    stands = Stands(ner=STANDING)

    async def breaks() -> Mapping[Task, Standing]:
        raise ValueError("told to fail")

    async with an_in_force(stands).looking(look_s=0.01) as force:
        stands.in_force = breaks  # type: ignore[method-assign]
        async with asyncio.timeout(5.0):
            while not isinstance(force.policies["ner"], SuspendedPolicy):  # noqa: ASYNC110 - nothing tells of a look
                await asyncio.sleep(0.01)


async def test_who_has_not_reached_the_store_for_long_accepts_nothing() -> None:
    stands = Stands(ner=STANDING)
    force = InForce(stands, configured={"ner": CONFIGURED}, terms={}, patience_s=0.05)

    async with force.looking(look_s=0.01):
        before = force.policies["ner"]
        stands.is_away = True
        async with asyncio.timeout(5.0):
            while not isinstance(force.policies["ner"], SuspendedPolicy):  # noqa: ASYNC110 - nothing tells of a look
                await asyncio.sleep(0.01)
        stands.is_away = False
        async with asyncio.timeout(5.0):
            while force.policies["ner"] != STANDING.policy:  # noqa: ASYNC110 - nothing tells of a look
                await asyncio.sleep(0.01)

    assert before == STANDING.policy
