"""Tests that answers of a platform certify nothing that its people saw, or chose, by what models had said."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from models.types import Annotation
from pipelines.platform_answers import PlatformAnswers
from pipelines.policy.certified import CertifiedPolicy
from pipelines.store.audits import Audits
from pipelines.store.evidence import EvidenceReader
from pipelines.store.policies import Policies
from pipelines.store.store import Store
from pipelines.types import Labelled
from pipelines.watch import Watch
from tests.pipelines.platform import an_answer, tasks_of
from tests.pipelines.policy.builders import a_policy, a_pre_label, an_item
from tests.pipelines.store.test_evidence import HALF, NOTHING_DRAWN, answer, evidence, routed
from tests.pipelines.store.test_policies import a_fitted
from tests.pipelines.test_watch import an_active_policy

ALL_DRAWN = a_policy(terms=replace(HALF, audit_rate=1.0))


async def answered_on_a_platform(
    store: Store,
    run_id: str,
    outcomes: Iterable[Labelled],
    *,
    was_shown: bool,
    updated: float = 0,
    is_wrong: bool = False,
) -> None:
    """Everybody finds the pre-labels right, whatever they are, or nothing in them."""
    for one in outcomes:
        said: tuple[Annotation, ...] = () if is_wrong else one.pre_label.prediction.annotations
        await PlatformAnswers(store).record(
            an_answer(
                run_id, *said, key=one.item.id, item_id=one.item.id, task="ner", was_shown=was_shown, updated=updated
            )
        )


def drawn(outcomes: Iterable[Labelled]) -> list[Labelled]:
    return [one for one in outcomes if one.decision.uniform_rate is not None]


def low(outcomes: Iterable[Labelled]) -> list[Labelled]:
    return [one for one in outcomes if one.pre_label.prediction.signals["sentence"] < 0.5]


async def test_whoever_saw_the_pre_labels_has_certified_and_audited_nothing(store: Store, run_id: str) -> None:
    policy = a_policy(terms=HALF)
    outcomes = await routed(store, run_id, 60, policy=policy)

    await answered_on_a_platform(store, run_id, outcomes, was_shown=True)
    of_shown, audits = await evidence(store), await Audits(store).answered(policy.id)
    waiting = [(await tasks_of(store, one.item.id))["routed"] for one in drawn(outcomes)]
    await answer(store, 1_000)  # in the queue, blind, and otherwise
    of_blind = await evidence(store)

    assert (list(of_shown.judged), of_shown.pending, audits) == ([], len(drawn(outcomes)), [])
    assert set(waiting) == {"pending"}
    assert len(of_blind.judged) == len(drawn(outcomes))
    assert all(one.answer == () and not one.is_shown for one in of_blind.judged)


async def test_the_same_answers_would_count_if_nobody_had_seen_the_pre_labels(store: Store, run_id: str) -> None:
    """The control: it is the sight of the pre-labels that the test before turns on."""
    policy = a_policy(terms=HALF)
    outcomes = await routed(store, run_id, 60, policy=policy)

    await answered_on_a_platform(store, run_id, outcomes, was_shown=False)
    found, audits = await evidence(store), await Audits(store).answered(policy.id)

    assert len(found.judged) == len(drawn(outcomes)) and not any(one.is_shown for one in found.judged)
    assert len(audits) == len(drawn(outcomes))


async def test_an_audit_that_shows_pre_labels_is_not_for_people_whose_errors_nobody_counts(
    store: Store, run_id: str
) -> None:
    policy = a_policy(terms=replace(HALF, audits="shown"))
    outcomes = await routed(store, run_id, 40, policy=policy)

    await answered_on_a_platform(store, run_id, outcomes, was_shown=True)

    assert await Audits(store).answered(policy.id) == []
    assert {(await tasks_of(store, one.item.id))["routed"] for one in drawn(outcomes)} == {"pending"}


async def test_what_was_volunteered_is_no_part_of_the_random_sample(store: Store, run_id: str) -> None:
    outcomes = await routed(store, run_id, 40, policy=NOTHING_DRAWN)

    for was_shown in (True, False):
        await answered_on_a_platform(store, run_id, outcomes, was_shown=was_shown, updated=1 - was_shown)
        assert list((await evidence(store)).judged) == []


async def test_what_a_platform_has_asked_for_first_does_not_crowd_out_what_waits(store: Store, run_id: str) -> None:
    """It has had all 40 items answered that scored low; of the 40 others the queue has served 10."""
    outcomes = await routed(store, run_id, 80, policy=ALL_DRAWN)
    await answered_on_a_platform(store, run_id, low(outcomes), was_shown=False)
    await answer(store, 10)

    found = await evidence(store)

    names = {one.item.id for one in low(outcomes)}
    of_low = [one for one in found.judged if one.item.id in names]
    assert len(names) == 40  # of 50 answers, four fifths, which is what it would be without care
    assert (len(of_low), len(found.judged)) == (10, 20)


async def fitted_to(store: Store, policy: CertifiedPolicy) -> str:
    """The id of a policy that stands on all the evidence there is."""
    ids = tuple(one.prelabel_id for one in (await evidence(store)).judged)
    fitted = replace(a_fitted(), policy=policy, calibration=None, certified_on=ids)
    await Policies(store).add(fitted)
    return policy.id


async def test_a_certificate_is_traced_to_the_answers_of_its_time(store: Store, run_id: str) -> None:
    outcomes = await routed(store, run_id, 12, policy=ALL_DRAWN)
    await answered_on_a_platform(store, run_id, outcomes[:2], was_shown=False, updated=-5, is_wrong=True)
    await answered_on_a_platform(store, run_id, outcomes, was_shown=False)
    stored = await Policies(store).get(await fitted_to(store, ALL_DRAWN))
    then = await EvidenceReader(store).certified_on(stored)

    await answered_on_a_platform(store, run_id, outcomes[:4], was_shown=False, updated=5, is_wrong=True)
    for one in outcomes[4:8]:
        await PlatformAnswers(store).withdraw(one.item.id)
    await answer(store, 2)
    now = await evidence(store)

    assert len(then) == 12 and all(one.answer for one in then)
    assert await EvidenceReader(store).certified_on(stored) == then
    assert len([one for one in now.judged if one.answer == ()]) > 0


async def test_an_answer_that_was_changed_after_a_fit_is_as_old_as_before(store: Store, run_id: str) -> None:
    outcomes = await routed(store, run_id, 4, policy=ALL_DRAWN)
    await answered_on_a_platform(store, run_id, outcomes, was_shown=False)
    before = (await evidence(store)).judged

    await answered_on_a_platform(store, run_id, outcomes, was_shown=False, updated=5, is_wrong=True)
    after = (await evidence(store)).judged

    assert [one.answer for one in after] == [()] * 4
    assert [one.answered_at for one in after] == [one.answered_at for one in before]
    assert {one.review_id for one in after}.isdisjoint(one.review_id for one in before)


async def audited(store: Store, run_id: str, policy: CertifiedPolicy, names: Iterable[str]) -> list[Labelled]:
    outcomes = []
    for number, name in enumerate(names):
        item, pre_label = an_item(name), a_pre_label(0.9, digest=f"{number:064x}")
        decision = policy.decide(item, "ner", pre_label)
        outcomes.append(Labelled(item=item, task="ner", pre_label=pre_label, decision=decision))
    await store.save(outcomes, run_id=run_id)
    return outcomes


async def looked(store: Store, run_id: str, *, is_put_right: bool) -> list[list[str]]:
    """What is suspended: after 6 right audits and 3 wrong ones, and after 2 wrong ones more."""
    policy, watch = await an_active_policy(Policies(store)), Watch(store)
    outcomes = await audited(store, run_id, policy, [f"item {number}" for number in range(11)])
    await answered_on_a_platform(store, run_id, outcomes[:6], was_shown=False)
    await answered_on_a_platform(store, run_id, outcomes[6:9], was_shown=False, is_wrong=True)
    first = await watch.look()
    if is_put_right:
        await answered_on_a_platform(store, run_id, outcomes[6:8], was_shown=False, updated=5)
        await PlatformAnswers(store).withdraw(outcomes[8].item.id)
    await answered_on_a_platform(store, run_id, outcomes[9:], was_shown=False, is_wrong=True)
    return [first, await watch.look()]


async def test_an_audit_whose_answer_was_taken_back_is_held_against_nobody(store: Store, run_id: str) -> None:
    assert await looked(store, run_id, is_put_right=True) == [[], []]


async def test_wrong_audits_on_a_platform_suspend_the_policy(store: Store, run_id: str) -> None:
    """The control: nothing is taken back."""
    first, second = await looked(store, run_id, is_put_right=False)

    assert (first, len(second)) == ([], 1)
