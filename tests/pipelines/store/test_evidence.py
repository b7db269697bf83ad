"""Tests that policies are fitted on the random sample's answers, and on nothing that a score has chosen."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import text

from pipelines.policy.certified import CertifiedPolicy
from pipelines.policy.conditions import Conditions
from pipelines.policy.evidence import Evidence
from pipelines.policy.terms import Terms
from pipelines.review import ReviewQueue
from pipelines.sample import SampleRequest, draw
from pipelines.store.evidence import EvidenceReader
from pipelines.store.store import Store
from pipelines.types import Labelled, PreLabel
from tests.pipelines.policy.builders import CONDITIONS, a_policy, a_pre_label, an_item

HALF = Terms(queue="texts", audit_rate=0.5)
NOTHING_DRAWN = a_policy(terms=replace(HALF, audit_rate=1e-9))
NEWER = replace(CONDITIONS, chain=("tagger@2:cdcdcdcdcdcd",))


def under(conditions: Conditions, pre_label: PreLabel) -> PreLabel:
    return replace(pre_label, provenance=replace(pre_label.provenance, chain=conditions.chain))


async def routed(
    store: Store, run_id: str, n: int, *, policy: CertifiedPolicy | None = None, conditions: Conditions = CONDITIONS
) -> list[Labelled]:
    """Items that a policy has decided about, every other one of which it would accept."""
    policy = policy or a_policy(terms=HALF)
    outcomes: list[Labelled] = []
    for number in range(n):
        item = an_item(f"item {number}")
        pre_label = under(conditions, a_pre_label(0.9 if number % 2 else 0.1, digest=f"{number:064x}"))
        decision = policy.decide(item, "ner", pre_label)
        outcomes.append(Labelled(item=item, task="ner", pre_label=pre_label, decision=decision))
    await store.save(outcomes, run_id=run_id)
    return outcomes


async def answer(store: Store, n: int, *, reviewer: str = "ann") -> int:
    queue = ReviewQueue(store)
    tasks = await queue.claim("texts", reviewer=reviewer, n=n)
    for task in tasks:
        await queue.submit(task.id, task.attempt, reviewer=reviewer, annotations=())
    return len(tasks)


async def evidence(store: Store, conditions: Conditions = CONDITIONS, *, run_id: str | None = None) -> Evidence:
    return await EvidenceReader(store).read("ner", conditions, run_id=run_id)


@pytest.fixture
async def other_run(store: Store) -> str:
    return await store.start_run("other")


async def test_only_what_was_drawn_counts_and_what_waits_is_left_out(store: Store, run_id: str) -> None:
    outcomes = await routed(store, run_id, 60)
    drawn = {one.item.id for one in outcomes if one.decision.uniform_rate is not None}
    answered = await answer(store, 25)

    found = await evidence(store)

    assert answered == 25 and 20 < len(drawn) < 40
    assert {one.item.id for one in found.judged} < drawn
    assert len(found.judged) + found.pending == len(drawn)
    assert found.population == len(found.pool) == 60
    assert all(one.rate == 0.5 and not one.is_shown and one.answer == () for one in found.judged)


async def test_the_sample_has_accepted_and_rejected_items_alike(store: Store, run_id: str) -> None:
    await routed(store, run_id, 80)
    await answer(store, 1_000)

    found = await evidence(store)

    scores = [one.pre_label.prediction.signals["sentence"] for one in found.judged]
    assert found.pending == 0
    assert {0.1, 0.9} == set(scores)


async def test_a_task_that_nobody_could_answer_is_in_the_sample_without_an_answer(store: Store, run_id: str) -> None:
    await routed(store, run_id, 40, policy=a_policy(terms=replace(HALF, audit_rate=1.0)))
    async with store.engine.begin() as connection:
        await connection.execute(text("UPDATE review_tasks SET state = 'dead' WHERE id % 2 = 0"))

    found = await evidence(store)

    assert [one.answer for one in found.judged] == [None] * 20 and found.pending == 20


async def test_pre_labels_under_other_conditions_are_no_evidence(store: Store, run_id: str) -> None:
    await routed(store, run_id, 20)
    await answer(store, 1_000)

    for changed in (
        replace(CONDITIONS, config_digest="other"),
        replace(CONDITIONS, rules_digest="other"),
        replace(CONDITIONS, ontology_digest="other"),
        NEWER,
    ):
        found = await evidence(store, changed)
        assert (list(found.judged), found.pool) == ([], [])


async def test_a_blind_answer_counts_for_the_same_item_under_a_newer_model(
    store: Store, run_id: str, other_run: str
) -> None:
    await routed(store, run_id, 40)
    await answer(store, 1_000)
    await routed(store, other_run, 40, policy=NOTHING_DRAWN, conditions=NEWER)

    old, new = await evidence(store), await evidence(store, NEWER)

    assert {one.item.id for one in old.judged} == {one.item.id for one in new.judged}
    assert {one.answered_for for one in new.judged} == {one.prelabel_id for one in old.judged}
    assert all(one.pre_label.provenance.chain == NEWER.chain for one in new.judged)


async def test_what_was_reviewed_before_it_was_drawn_does_not_crowd_out_what_waits(store: Store, run_id: str) -> None:
    """Of 40 items that scored low all have been reviewed, of 40 that were accepted none; all of them are drawn."""
    outcomes = await routed(store, run_id, 80, policy=NOTHING_DRAWN)
    await answer(store, 1_000)
    sample = SampleRequest(task="ner", strategy="random", budget=80, id="all")
    drawn = await draw(store, sample, queues={"ner": "texts"})
    none_yet = await evidence(store)
    await answer(store, 10)
    some = await evidence(store)
    await answer(store, 1_000)
    all_of_it = await evidence(store)

    low = {one.item.id for one in outcomes if one.decision.route == "review"}
    assert len(drawn.members) == 80 and len(low) == 40
    assert (len(none_yet.judged), none_yet.pending) == (0, 80)
    assert len([one for one in some.judged if one.item.id in low]) == len(some.judged) / 2 == 10
    assert (len(all_of_it.judged), all_of_it.pending) == (80, 0)
    assert {one.item.id for one in all_of_it.judged if one.is_shown} == low


async def test_a_drawn_item_whose_task_nobody_has_seen_becomes_blind(store: Store, run_id: str) -> None:
    await routed(store, run_id, 20, policy=NOTHING_DRAWN)
    await ReviewQueue(store).claim("texts", reviewer="ann", n=3)  # who sees the pre-labels

    await draw(store, SampleRequest(task="ner", strategy="random", budget=20), queues={"ner": "texts"})
    rest = await ReviewQueue(store).claim("texts", reviewer="bob", n=100)

    assert len(rest) == 17 and all(task.is_blind for task in rest)


async def test_an_answer_beside_the_pre_label_does_not_count_for_another_model(
    store: Store, run_id: str, other_run: str
) -> None:
    shown = a_policy(terms=replace(HALF, audits="shown"))
    await routed(store, run_id, 40, policy=shown)
    await answer(store, 1_000)
    await routed(store, other_run, 40, policy=NOTHING_DRAWN, conditions=NEWER)

    old, new = await evidence(store), await evidence(store, NEWER)

    assert old.judged and all(one.is_shown for one in old.judged)
    assert list(new.judged) == []


async def test_a_drop_that_was_labelled_twice_is_not_twice_the_evidence(
    store: Store, run_id: str, other_run: str
) -> None:
    await routed(store, run_id, 30)
    await routed(store, other_run, 30)
    await answer(store, 1_000)

    both, one_run = await evidence(store), await evidence(store, run_id=other_run)

    assert len(both.judged) == len(one_run.judged)
    assert (both.population, one_run.population) == (60, 30)


async def test_answers_from_before_the_draw_do_not_certify_what_nobody_has_looked_at(store: Store, run_id: str) -> None:
    """Items from scratch, which all scored low, are blind; answered before the draw they say nothing of others."""
    hides = a_policy(terms=replace(NOTHING_DRAWN.terms, scratch={"sentence": 0.5}))
    outcomes = await routed(store, run_id, 80, policy=hides)
    await answer(store, 1_000)
    await draw(store, SampleRequest(task="ner", strategy="random", budget=80), queues={"ner": "texts"})

    before, answered = await evidence(store), await answer(store, 1_000)
    after = await evidence(store)

    assert {one.decision.route for one in outcomes} == {"accept", "scratch"} and answered == 40
    assert (len(before.judged), before.pending) == (0, 80)
    assert (len(after.judged), after.pending) == (80, 0)


async def test_what_people_saw_under_an_older_model_is_reviewed_again_for_the_sample(
    store: Store, run_id: str, other_run: str
) -> None:
    await routed(store, run_id, 60, policy=NOTHING_DRAWN)
    seen = await answer(store, 1_000)  # those that scored low, with the pre-label in sight
    await routed(store, other_run, 60, policy=replace(NOTHING_DRAWN, conditions=NEWER), conditions=NEWER)
    async with store.engine.begin() as connection:  # the newer model is sure of all of them
        await connection.execute(text("DELETE FROM review_tasks WHERE state = 'pending'"))

    await draw(store, SampleRequest(task="ner", strategy="random", budget=60), queues={"ner": "texts"})
    again = await answer(store, 1_000)
    found = await evidence(store, NEWER)

    assert (seen, again) == (30, 60)
    assert (len(found.judged), found.pending) == (60, 0)
    assert not any(one.is_shown for one in found.judged)


async def test_shown_members_of_the_sample_come_in_random_order_too(store: Store, run_id: str) -> None:
    await routed(store, run_id, 80, policy=a_policy(terms=replace(HALF, audit_rate=1.0, audits="shown")))
    await answer(store, 40)

    found = await evidence(store)

    high = [one for one in found.judged if one.pre_label.prediction.signals["sentence"] > 0.5]
    assert len(found.judged) == 40 and all(one.is_shown for one in found.judged)
    assert 10 <= len(high) <= 30  # of as many as there are others; by their uncertainty they would be the last
