"""Tests that answers to audits suspend a policy whose promise is broken, and no other."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import text

from models.types import Annotation
from pipelines.errors import StoreUnavailableError
from pipelines.policy.certified import CertifiedPolicy
from pipelines.policy.terms import Terms
from pipelines.review import ReviewQueue
from pipelines.store.drops import Drops
from pipelines.store.policies import AUDITS, DRIFT, Policies
from pipelines.store.store import Store
from pipelines.types import Labelled
from pipelines.watch import Watch
from tests.pipelines.policy.builders import a_policy, a_pre_label, a_span, an_item
from tests.pipelines.store.test_policies import a_fitted

AUDITS_ALL = Terms(queue="texts", audit_rate=1.0)


@pytest.fixture
def policies(store: Store) -> Policies:
    return Policies(store)


async def an_active_policy(policies: Policies, *, seed: str = "seed", round: int = 1) -> CertifiedPolicy:
    """One that audits everything it accepts."""
    policy = replace(a_policy(terms=AUDITS_ALL, seed=seed), round=round)
    await policies.add(replace(a_fitted(), policy=policy, calibration=None))
    await policies.activate(policy.id, actor="ada")
    return policy


async def answered(store: Store, run_id: str, policy: CertifiedPolicy, *, right: int, wrong: int, of: str = "") -> None:
    """Items that the policy accepts, and what people say of them."""
    for number in range(right + wrong):
        item, pre_label = an_item(f"{of}{policy.seed} {number}"), a_pre_label(0.9, digest=f"{number:064x}")
        decision = policy.decide(item, "ner", pre_label)
        assert decision.route == "audit"
        await store.save([Labelled(item=item, task="ner", pre_label=pre_label, decision=decision)], run_id=run_id)
    queue = ReviewQueue(store)
    tasks = await queue.claim("texts", reviewer="ann", n=1_000)
    assert len(tasks) == right + wrong
    said = a_pre_label(0.9).prediction.annotations
    corrected: tuple[Annotation, ...] = tuple(replace(one, label="place") for one in said)
    for number, task in enumerate(tasks):
        answer = corrected if number < wrong else said
        await queue.submit(task.id, task.attempt, reviewer="ann", annotations=answer)


async def test_wrong_audits_suspend_the_policy_and_the_reason_says_so(
    store: Store, run_id: str, policies: Policies
) -> None:
    policy = await an_active_policy(policies)
    await answered(store, run_id, policy, right=5, wrong=10)

    suspended = await Watch(store).look()

    stored = await policies.get(policy.id)
    assert suspended == [policy.id]
    assert (stored.state, stored.events[-1].actor) == ("suspended", AUDITS)
    assert stored.events[-1].reason.startswith("10 of 15 audited items were wrong")


async def test_right_audits_leave_it_in_force(store: Store, run_id: str, policies: Policies) -> None:
    policy = await an_active_policy(policies)
    await answered(store, run_id, policy, right=40, wrong=1)

    assert await Watch(store).look() == []
    assert (await policies.get(policy.id)).state == "active"


async def test_audits_of_one_policy_say_nothing_of_another(store: Store, run_id: str, policies: Policies) -> None:
    old = await an_active_policy(policies)
    await answered(store, run_id, old, right=0, wrong=15)
    await policies.retire(old.id, actor="ada")
    new = await an_active_policy(policies, seed="new", round=2)
    await answered(store, run_id, new, right=10, wrong=0)

    assert await Watch(store).look() == []


async def test_what_was_read_before_counts_with_what_comes_later(store: Store, run_id: str, policies: Policies) -> None:
    policy, watch = await an_active_policy(policies), Watch(store)
    await answered(store, run_id, policy, right=6, wrong=1, of="first ")
    first = await watch.look()
    await answered(store, run_id, policy, right=0, wrong=6, of="second ")

    assert (first, await watch.look(), await watch.look()) == ([], [policy.id], [])


async def test_two_that_watch_suspend_once(store: Store, run_id: str, policies: Policies) -> None:
    policy = await an_active_policy(policies)
    await answered(store, run_id, policy, right=0, wrong=12)

    found = await asyncio.gather(*(Watch(store).look() for _ in range(4)))

    assert sum(map(len, found)) == 1
    assert [event.action for event in (await policies.get(policy.id)).events] == ["activated", "suspended"]


async def test_it_watches_as_long_as_its_context_lasts(store: Store, run_id: str, policies: Policies) -> None:
    policy = await an_active_policy(policies)

    async with Watch(store).watching(look_s=0.05):
        await answered(store, run_id, policy, right=0, wrong=12)
        async with asyncio.timeout(10.0):
            while (await policies.get(policy.id)).state != "suspended":  # noqa: ASYNC110 - nothing tells of a look
                await asyncio.sleep(0.05)


async def test_a_report_counts_what_was_decided_and_what_is_left(store: Store, run_id: str, policies: Policies) -> None:
    policy = await an_active_policy(policies)
    await answered(store, run_id, policy, right=18, wrong=2)

    report = await Watch(store).report(policy)

    assert report.routes == {"audit": 20}
    assert (report.verdict.n_audited, report.verdict.n_wrong) == (20, 2)
    assert report.accepted_error is not None and report.accepted_error.error == pytest.approx(0.1)
    assert (
        report.remaining is not None and report.remaining.residual_errors == 0
    )  # all were audited, and what was wrong is put right


async def decided(store: Store, run_id: str, policy: CertifiedPolicy, *, scores: np.ndarray, of: str) -> None:
    outcomes = []
    for number, score in enumerate(scores):
        item, pre_label = an_item(f"{of} {number}"), a_pre_label(float(score), digest=f"{number:064x}")
        decision = policy.decide(item, "ner", pre_label)
        outcomes.append(Labelled(item=item, task="ner", pre_label=pre_label, decision=decision))
    await store.save(outcomes, run_id=run_id)


@pytest.mark.parametrize(("shift", "is_suspended"), [(0.0, False), (0.15, True)])
async def test_items_unlike_those_it_was_certified_on_suspend_a_policy_whose_terms_want_that(
    store: Store, run_id: str, policies: Policies, shift: float, is_suspended: bool
) -> None:
    rng = np.random.default_rng(11)
    before = a_policy(seed="before")
    await decided(store, run_id, before, scores=rng.uniform(0.0, 0.85, 600), of="before")
    page = await store.results(run_id, limit=1_000)
    terms = Terms(queue="texts", audit_rate=0.01, drift="suspend")
    policy = a_policy(terms=terms)
    await policies.add(replace(a_fitted(), policy=policy, calibration=None, until=page[-1].position))
    await policies.activate(policy.id, actor="ada")

    early = await Watch(store).look()
    await decided(store, run_id, policy, scores=rng.uniform(0.0, 0.85, 600) + shift, of="now")
    found = await Watch(store).look()

    stored = await policies.get(policy.id)
    assert early == []
    assert found == ([policy.id] if is_suspended else [])
    assert stored.state == ("suspended" if is_suspended else "active")
    if is_suspended:
        assert stored.events[-1].actor == DRIFT and "scores of all" in stored.events[-1].reason


async def test_a_drift_that_is_only_shown_leaves_the_policy_in_force(
    store: Store, run_id: str, policies: Policies
) -> None:
    rng = np.random.default_rng(12)
    await decided(store, run_id, a_policy(seed="before"), scores=rng.uniform(0.0, 0.5, 600), of="before")
    page = await store.results(run_id, limit=1_000)
    policy = a_policy(terms=Terms(queue="texts", audit_rate=0.01))
    await policies.add(replace(a_fitted(), policy=policy, calibration=None, until=page[-1].position))
    await policies.activate(policy.id, actor="ada")
    await decided(store, run_id, policy, scores=rng.uniform(0.5, 1.0, 600), of="now")
    watch = Watch(store)

    suspended, drift = await watch.look(), await watch.drift(policy.id)

    assert suspended == []
    assert {one.what for one in drift if one.is_significant} == {"scores", "accepted"}
    assert (drift[0].reference_n, drift[0].current_n) == (600, 600)


async def test_however_many_audits_are_wrong_the_policy_is_suspended(
    store: Store, run_id: str, policies: Policies
) -> None:
    """The evidence of three hundred is no float any more."""
    policy = await an_active_policy(policies)
    await answered(store, run_id, policy, right=0, wrong=300)

    assert await Watch(store).look() == [policy.id]
    assert (await Watch(store).report(policy)).verdict.is_broken


async def test_a_store_that_is_away_for_a_moment_only_puts_a_suspension_off(
    store: Store, run_id: str, policies: Policies
) -> None:
    policy, watch = await an_active_policy(policies), Watch(store)
    await answered(store, run_id, policy, right=0, wrong=12)
    suspend, watch._policies.suspend = watch._policies.suspend, _is_away

    with pytest.raises(StoreUnavailableError):
        await watch.look()
    watch._policies.suspend = suspend

    assert await watch.look() == [policy.id]


async def _is_away(*_: object, **__: object) -> bool:
    raise StoreUnavailableError


async def test_a_superseded_policy_is_watched_as_long_as_a_run_goes_on_with_it(
    store: Store, run_id: str, policies: Policies
) -> None:
    old = await an_active_policy(policies)
    await Drops(store).begin("drop", name="drop", task="ner", source={}, fingerprint={"policy": old.id})
    await answered(store, run_id, old, right=0, wrong=12)
    await an_active_policy(policies, seed="newer", round=2)

    suspended = await Watch(store).look()

    assert suspended == [old.id]
    standing = await policies.standing(old.id)
    assert standing is not None and standing.suspended is not None


async def test_one_policy_that_cannot_be_looked_at_does_not_keep_another_from_it(
    store: Store, run_id: str, policies: Policies, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, watch = await an_active_policy(policies), Watch(store)
    await answered(store, run_id, policy, right=0, wrong=12)
    broken = replace(policy, seed="broken")

    async def both() -> list[CertifiedPolicy]:
        return [broken, policy]

    answers = watch._audits.answered

    async def fails_for_one(policy_id: str, **rest: object):
        if policy_id == broken.id:
            raise ValueError("told to fail")
        return await answers(policy_id, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(watch._policies, "accepting", both)
    monkeypatch.setattr(watch._audits, "answered", fails_for_one)

    assert await watch.look() == [policy.id]


@pytest.mark.parametrize("change", [0.0, 6.0])
async def test_corrections_are_compared_in_the_random_sample_alone(
    store: Store, run_id: str, policies: Policies, change: float
) -> None:
    """What a policy sends to people costs more than what it accepts, and that is no drift."""
    rng = np.random.default_rng(21)
    everything = a_policy(terms=Terms(queue="texts", audit_rate=1.0), seed="before")
    await decided(store, run_id, everything, scores=rng.uniform(0.0, 1.0, 300), of="before")
    await corrected(store)
    page = await store.results(run_id, limit=1_000)
    policy = a_policy(terms=Terms(queue="texts", audit_rate=0.3))
    await policies.add(replace(a_fitted(), policy=policy, calibration=None, until=page[-1].position))
    await policies.activate(policy.id, actor="ada")
    await decided(store, run_id, policy, scores=rng.uniform(0.0, 1.0, 400), of="now")
    await corrected(store, spans=int(change))

    found = {one.what: one for one in await Watch(store).drift(policy.id)}

    assert found["corrections"].is_significant == bool(change)
    assert found["corrections"].current_n < 200  # of 400, most of which were reviewed


async def corrected(store: Store, *, spans: int = 0) -> None:
    """People find nothing in what scored low, and so many spans beside everything else."""
    queue = ReviewQueue(store)
    more = tuple(a_span(1.0, start=100 + 10 * number) for number in range(spans))
    while tasks := await queue.claim("texts", reviewer="ann", n=500):
        async with store.engine.connect() as connection:
            low = set((await connection.execute(text(_LOW))).scalars())
        for task in tasks:
            said = () if task.id in low else (a_span(1.0),)
            await queue.submit(task.id, task.attempt, reviewer="ann", annotations=said + more)


_LOW = """
SELECT task.id FROM review_tasks AS task JOIN prelabels ON prelabels.id = prelabel_id
WHERE CAST(prediction -> 'signals' ->> 'sentence' AS double precision) < 0.5
"""
