"""Tests that a reviewer of a blind task sees nothing of its pre-label, nor why the task is theirs."""

from __future__ import annotations

from dataclasses import asdict, fields, replace

from sqlalchemy import text

from models.types import Prediction
from pipelines.blind import hidden
from pipelines.review import ReviewQueue
from pipelines.sanity import Finding
from pipelines.store.store import Store
from pipelines.types import Labelled, PreLabel, Route
from tests.pipelines.builders import a_labelled, a_pre_label, an_annotation


def a_full_pre_label(confidence: float) -> PreLabel:
    """A pre-label with something in each of its fields."""
    full = a_pre_label(an_annotation(), confidence=confidence, uncertainty=1.0 - confidence)
    prediction = Prediction(
        annotations=full.prediction.annotations, signals={"no_miss": confidence}, size_hw=(480, 640), duration_s=3.5
    )
    model = "segmenter" if confidence > 0.5 else "detector"  # which has found nothing to prompt the segmenter with
    provenance = replace(
        full.provenance,
        model=model,
        weights_digest=model,
        config_digest=model,
        chain=("detector@1:abababababab", "segmenter@1:cdcdcdcdcdcd")[: 2 if confidence > 0.5 else 1],
        calibration_id=f"calibration-{confidence}",
        policy_id=f"p-{confidence}",
    )
    return replace(
        full,
        prediction=prediction,
        provenance=provenance,
        findings=(Finding(rule="tiny_box", action="flagged", annotation_id="0", message="it is tiny"),),
        unmapped={"lynx": 2},
    )


def blind(name: str, route: Route, confidence: float) -> Labelled:
    labelled = a_labelled(name, route=route, is_blind=True, pre_label=a_full_pre_label(confidence))
    return replace(labelled, decision=replace(labelled.decision, reason=f"{route} {confidence}", draw=confidence / 100))


def test_what_is_hidden_is_all_but_the_size_and_the_item() -> None:
    full = a_full_pre_label(0.9)

    left = hidden(full)

    assert left.prediction == Prediction(size_hw=(480, 640), duration_s=3.5)
    assert (left.confidence, left.calibrated, left.uncertainty) == (None, False, {})
    assert left.provenance.item_digest == full.provenance.item_digest
    assert not {"segmenter", "detector"} & {left.provenance.model, *left.provenance.chain}
    assert hidden(a_full_pre_label(0.1)) == left


def test_there_was_something_to_hide_in_every_field_that_has_a_default() -> None:
    """The negative control of the test above."""
    full, bare = a_full_pre_label(0.9), hidden(a_full_pre_label(0.9))

    same = {field.name for field in fields(PreLabel) if getattr(full, field.name) == getattr(bare, field.name)}

    assert same == {"more_findings"}  # which only come beyond a hundred findings


async def test_an_audit_cannot_be_told_from_other_blind_tasks(store: Store, run_id: str) -> None:
    routes: list[Route] = ["audit", "review", "scratch", "review"]
    await store.save([blind(f"item{n}", route, 0.9 - n / 5) for n, route in enumerate(routes)], run_id=run_id)

    tasks = await ReviewQueue(store).claim("boxes", reviewer="ann", n=4)

    seen = [asdict(task) for task in tasks]
    assert len({task["reason"] for task in seen}) == 4  # for those who run the queue
    for task in seen:  # what tells one item from another, and one place in the queue
        for name in ("id", "item", "reason", "priority", "lease_until"):
            del task[name]
    assert all(task == seen[0] for task in seen)
    assert seen[0]["is_blind"]


async def test_whoever_is_not_blind_sees_all_of_it(store: Store, run_id: str) -> None:
    labelled = replace(blind("one", "review", 0.4), decision=a_labelled(route="review").decision)
    await store.save([labelled], run_id=run_id)

    [task] = await ReviewQueue(store).claim("boxes", reviewer="ann")

    assert not task.is_blind
    assert task.pre_label == labelled.pre_label


async def test_from_scratch_is_always_blind(store: Store, run_id: str) -> None:
    await store.save([a_labelled(route="scratch")], run_id=run_id)

    [task] = await ReviewQueue(store).claim("boxes", reviewer="ann")

    assert task.is_blind
    assert task.pre_label.prediction.annotations == ()


async def test_audits_are_queued_with_the_others_in_their_order(store: Store, run_id: str) -> None:
    """In one transaction, with the same moment and with ids in the order of the items: time tells nothing."""
    outcomes = [
        a_labelled(f"{n:02}", route="audit" if n % 3 == 0 else "review", is_blind=n % 3 == 0) for n in range(30)
    ]
    await store.save(outcomes, run_id=run_id)

    query = """
        SELECT item_id, task.created_at, task.xmin::text FROM review_tasks AS task
        JOIN prelabels ON prelabels.id = prelabel_id ORDER BY task.id
    """
    async with store.engine.connect() as connection:
        found = (await connection.execute(text(query))).all()

    assert [row[0] for row in found] == [outcome.item.id for outcome in outcomes]
    assert len({row[1:] for row in found}) == 1
