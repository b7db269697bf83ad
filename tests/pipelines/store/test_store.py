"""Tests that outcomes go into the store once and come out as they were."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from models.errors import ConfigError, OverloadedError
from models.types import BoxPrompt, Content, Item, Mask, Polygon, Prompts, Task, TextSpan, TimeSpan, WholeItem
from pipelines.errors import NotFoundError, StoreUnavailableError
from pipelines.remarks import Remarks, remarks_on
from pipelines.review import ReviewQueue
from pipelines.store.drops import Drops
from pipelines.store.store import Store
from pipelines.store.tables import contents, metadata, prelabels
from pipelines.store.values import TaskCounts
from pipelines.types import Failed, Failure, Labelled, Outcome, Route
from tests.pipelines.builders import a_decision, a_failed, a_labelled, a_pre_label, an_annotation, an_item
from tests.pipelines.test_remarks import MANY, a_finding, remarked

_AS_BEFORE = """
    INSERT INTO prelabels (run_id, item_id, task, status, prediction, confidence, calibrated, uncertainty, provenance)
    SELECT run_id, 'old', task, status, prediction, confidence, calibrated, uncertainty,
        provenance - 'rules_digest' - 'ontology_digest'
    FROM prelabels WHERE run_id = :run_id
"""
_ITS_DECISION = """
    INSERT INTO decisions
    SELECT (SELECT max(id) FROM prelabels), route, queue, reason, policy_id, threshold, propensity, draw FROM decisions
"""
_ONE_MORE_FAILURE = """
    INSERT INTO failures (run_id, item_id, task, code, message) SELECT run_id, id, 'ner', 'timeout', '' FROM items
"""


async def test_outcomes_come_back_as_they_were_saved_and_in_order(store: Store, run_id: str) -> None:
    geometries = (
        WholeItem(),
        Polygon(points_xy=((0.0, 0.0), (1.5, 0.0), (1.0, 2.0))),
        Mask(size_hw=(4, 5), counts="0S1"),
        TextSpan(start=3, end=9),
        TimeSpan(start_s=0.25, end_s=1.5),
    )
    annotations = [replace(an_annotation(str(i)), geometry=geometry) for i, geometry in enumerate(geometries)]
    prompts = Prompts(boxes=(BoxPrompt(xyxy=(0.0, 0.0, 9.0, 9.0), label="dog"),), labels=("dog",))
    outcomes = [
        a_labelled("b", pre_label=a_pre_label(*annotations, confidence=0.9, signals={"no_miss": 1 / 3})),
        a_failed("a"),
        a_labelled("c", route="review", pre_label=a_pre_label(), item=replace(an_item("c"), prompts=prompts)),
    ]

    await store.save(outcomes[:2], run_id=run_id)
    await store.save(outcomes[2:], run_id=run_id)

    assert [result.outcome for result in await store.results(run_id)] == outcomes


async def test_what_was_noticed_of_a_pre_label_comes_back(store: Store, run_id: str) -> None:
    outcomes = [a_labelled(str(n), pre_label=pre_label) for n, pre_label in enumerate(MANY)]

    await store.save(outcomes, run_id=run_id)

    assert [result.outcome for result in await store.results(run_id)] == outcomes
    known = await Drops(store).known(run_id, [MANY[0].provenance.item_digest])
    assert list(known.values()) == [MANY[0]]


async def test_a_runs_remarks_are_those_on_its_pre_labels(store: Store, run_id: str) -> None:
    other = await store.start_run("another drop")
    odd = remarked(a_finding("duplicate", "removed"), unmapped={"l\0": 1, "\ud800": 2, "it's 50%": 3})
    await store.save([a_labelled("odd", pre_label=odd)], run_id=other)
    await store.save(
        [a_labelled(f"{n} {times}", pre_label=one) for times in range(40) for n, one in enumerate(MANY)], run_id=run_id
    )
    await store.save([a_failed("bad")], run_id=run_id)

    drops = Drops(store)

    assert await drops.remarks(run_id) == remarks_on([*MANY] * 40)
    assert (await drops.remarks(other)).by_label() == {"it's 50%": 3, "\ufffd": 2, "l\ufffd": 1}
    assert await drops.remarks("nobody's") == Remarks()


async def test_a_pre_label_of_before_the_rules_can_be_read(store: Store, run_id: str) -> None:
    await store.save([a_labelled("new")], run_id=run_id)
    await store.save([a_failed("old")], run_id=run_id)
    async with store.engine.begin() as connection:
        await connection.execute(text(_AS_BEFORE), {"run_id": run_id})
        await connection.execute(text(_ITS_DECISION))

    [_, _, old] = await store.results(run_id)

    assert isinstance(old.outcome, Labelled)
    assert old.outcome.pre_label == a_labelled().pre_label
    assert old.outcome.pre_label.provenance.rules_digest is None


async def test_saving_twice_stores_once(store: Store, run_id: str) -> None:
    outcomes = [a_labelled("one", route="review"), a_labelled("two"), a_failed("three")]

    await store.save(outcomes, run_id=run_id)
    await store.save([*outcomes, *outcomes], run_id=run_id)

    assert [result.outcome for result in await store.results(run_id)] == outcomes
    assert [queue.pending for queue in await store.queues()] == [1]


async def test_a_second_pre_label_leaves_the_first_and_its_finished_review(store: Store, run_id: str) -> None:
    await store.save([a_labelled(route="review", uncertainty=0.3)], run_id=run_id)
    queue = ReviewQueue(store)
    [task] = await queue.claim("boxes", reviewer="ann")
    await queue.submit(task.id, task.attempt, reviewer="ann", annotations=[])

    await store.save([a_labelled(route="review", uncertainty=0.9)], run_id=run_id)

    [result] = await store.results(run_id)
    assert result.review is not None
    assert result.review.reviewer == "ann"
    assert result.outcome == a_labelled(route="review", uncertainty=0.3)
    assert [(queue.pending, queue.done) for queue in await store.queues()] == [(0, 1)]


async def test_a_pre_label_replaces_a_failure_but_not_the_other_way_round(store: Store, run_id: str) -> None:
    await store.save([a_failed("one", code="timeout"), a_labelled("two")], run_id=run_id)

    await store.save([a_labelled("one"), a_failed("two", code="timeout")], run_id=run_id)

    assert [result.outcome for result in await store.results(run_id)] == [a_labelled("two"), a_labelled("one")]


async def test_a_later_failure_replaces_a_failure(store: Store, run_id: str) -> None:
    await store.save([a_failed(code="timeout")], run_id=run_id)

    await store.save([a_failed(code="too_large")], run_id=run_id)

    assert [result.outcome for result in await store.results(run_id)] == [a_failed(code="too_large")]


async def test_the_same_item_may_go_through_two_tasks_and_two_runs(store: Store, run_id: str) -> None:
    other_run = await store.start_run("the same drop again")

    await store.save([a_labelled(task="detection"), a_labelled(task="segmentation")], run_id=run_id)
    await store.save([a_labelled(task="detection")], run_id=other_run)

    assert [counts.task for counts in await store.counts(run_id)] == ["detection", "segmentation"]
    assert len(await store.results(other_run)) == 1


def _named_after(text: str, *, task: Task = "ner") -> Labelled:
    """A pre-label of a text, with the text's digest, under the id "one"."""
    return _digested(a_labelled(item=an_item("one", text=text), task=task), hashlib.sha256(text.encode()).hexdigest())


def _digested(labelled: Labelled, digest: str) -> Labelled:
    provenance = replace(labelled.pre_label.provenance, item_digest=digest)
    return replace(labelled, pre_label=replace(labelled.pre_label, provenance=provenance))


async def test_an_id_names_one_content_in_a_run(store: Store, run_id: str) -> None:
    first, twin, other = (
        _named_after("Ada in Rome"),
        _named_after("Bob in Oslo"),
        _named_after("Bob in Oslo", task="speech"),
    )

    in_one_save = await store.save([first, twin], run_id=run_id)
    later = await store.save([first, other], run_id=run_id)

    assert in_one_save[0] == later[0] == first
    for refused in (in_one_save[1], later[1]):
        assert isinstance(refused, Failed)
        assert refused.failure.code == "reused_id"
        assert "an id of its own" in refused.failure.message
    stored = [result.outcome for result in await store.results(run_id)]
    assert [(outcome.item.text, outcome.task, type(outcome)) for outcome in stored] == [
        ("Ada in Rome", "ner", Labelled),
        ("Ada in Rome", "speech", Failed),
    ]


async def test_a_failed_item_may_come_back_with_another_content(store: Store, run_id: str) -> None:
    corrected = _named_after("Ada in Rome")

    await store.save([a_failed(item=an_item("one", text="Ada\0"), task="ner")], run_id=run_id)
    await store.save([corrected], run_id=run_id)

    [result] = await store.results(run_id)
    assert result.outcome == corrected


async def test_bytes_are_kept_where_a_human_must_see_them(store: Store, run_id: str) -> None:
    item = Item(id="raw", media="image", data=b"\x89PNG")
    digest = hashlib.sha256(b"\x89PNG").hexdigest()
    queue = ReviewQueue(store)

    await store.save([a_failed(item=item)], run_id=run_id)
    await store.save(
        [replace(_digested(a_labelled("seen", route="review"), digest), item=replace(item, id="seen"))], run_id=run_id
    )
    await store.save([_digested(a_labelled("elsewhere", route="review"), "ab" * 32)], run_id=run_id)

    results = await store.results(run_id)
    assert results[0].outcome.item == replace(item, data=None)
    assert await _digest(store, "raw") == digest
    tasks = await queue.claim("boxes", reviewer="ann", n=5)
    assert [(task.item.id, task.has_content) for task in tasks] == [("seen", True), ("elsewhere", False)]
    assert await queue.content(tasks[0].id) == Content(media="image", data=b"\x89PNG")
    for missing in (tasks[1].id, 999, 2**70):
        with pytest.raises(NotFoundError, match="no bytes are kept"):
            await queue.content(missing)


async def test_bytes_of_an_accepted_item_are_not_kept(store: Store, run_id: str) -> None:
    item = Item(id="raw", media="image", data=b"\x89PNG")

    await store.save([replace(a_labelled("raw", route="accept"), item=item)], run_id=run_id)

    async with store.engine.connect() as connection:
        assert await connection.scalar(select(func.count()).select_from(contents)) == 0


async def test_text_that_the_database_cannot_hold_keeps_its_length(store: Store, run_id: str) -> None:
    item = Item(id="n\0", media="text", text="a\0b\ud800c 😀", meta={"so\0urce": "x\udfff"})
    labelled = replace(
        a_labelled(item=item, task="ner", route="review", queue="que\0ue"),
        pre_label=a_pre_label(replace(an_annotation(label="l\0"), text="\0", attributes={"k\0": "v\0"})),
        decision=a_decision("review", queue="que\0ue", reason="r\0"),
    )
    failed = Failed(item=replace(item, id="m\0"), task="ner", failure=Failure(code="c", message="m\0\ud800"))

    await store.save([labelled, failed], run_id=run_id)

    first, second = [result.outcome for result in await store.results(run_id)]
    assert isinstance(first, Labelled)
    assert isinstance(second, Failed)
    assert first.item.text == "a\ufffdb\ufffdc 😀"
    assert first.pre_label.prediction.annotations[0].label == "l\ufffd"
    assert second.failure.message == "m\ufffd\ufffd"
    assert [task.item.id for task in await ReviewQueue(store).claim("que\0ue", reviewer="a\0")] == ["n\ufffd"]


@pytest.mark.parametrize(
    "bad",
    [
        a_pre_label(an_annotation(score=float("nan"))),
        a_pre_label(signals={"entropy_max": float("inf")}),
        a_pre_label(uncertainty=float("nan")),
        a_pre_label(uncertainty=1.5),
        a_pre_label(confidence=float("nan")),
    ],
)
async def test_a_pre_label_with_a_bad_number_fails_alone(store: Store, run_id: str, bad: object) -> None:
    outcomes = [a_labelled("good"), replace(a_labelled("bad", route="review"), pre_label=bad)]

    await store.save(outcomes, run_id=run_id)

    good, failed = [result.outcome for result in await store.results(run_id)]
    assert good == a_labelled("good")
    assert isinstance(failed, Failed)
    assert failed.failure.code == "invalid_prediction"


async def test_a_failed_item_with_prompts_that_are_no_numbers_is_kept(store: Store, run_id: str) -> None:
    prompts = Prompts(boxes=(BoxPrompt(xyxy=(float("nan"), 0.0, 1.0, 1.0)),))

    await store.save([a_failed(code="invalid_prompt", item=replace(an_item(), prompts=prompts))], run_id=run_id)

    assert [result.outcome for result in await store.results(run_id)] == [a_failed(code="invalid_prompt")]


async def test_pages_cover_a_run_once(store: Store, run_id: str) -> None:
    outcomes = [a_failed(str(i)) if i % 3 == 0 else a_labelled(str(i)) for i in range(25)]
    for start in range(0, 25, 5):
        await store.save(outcomes[start : start + 5], run_id=run_id)

    seen, after = [], 0
    while page := await store.results(run_id, after=after, limit=4):
        seen += page
        after = page[-1].position

    assert sorted(result.outcome.item.id for result in seen) == sorted(outcome.item.id for outcome in outcomes)
    assert [result.position for result in seen] == sorted(result.position for result in seen)


async def test_a_save_that_started_first_is_seen_first(store: Store, run_id: str) -> None:
    async with store.engine.connect() as other:
        await other.execute(text("LOCK TABLE review_tasks IN SHARE MODE"))  # the first save stops half-way
        first = asyncio.create_task(store.save([a_labelled("first", route="review")], run_id=run_id))
        await _until_waiting(store, 1)
        second = asyncio.create_task(store.save([a_labelled("second")], run_id=run_id))
        await _until_waiting(store, 2)
        seen_meanwhile = await store.results(run_id)
    await asyncio.gather(first, second)

    assert seen_meanwhile == []
    assert [result.outcome.item.id for result in await store.results(run_id)] == ["first", "second"]


async def test_a_page_shows_one_moment_of_the_run(store: Store, run_id: str) -> None:
    await store.save([a_labelled()], run_id=run_id)
    async with store.engine.begin() as other:
        await other.execute(text("LOCK TABLE failures"))  # the reader stops between pre-labels and failures
        reading = asyncio.create_task(store.results(run_id))
        await _until_waiting(store, 1)
        await other.execute(text(_ONE_MORE_FAILURE))

    assert [result.outcome for result in await reading] == [a_labelled()]


async def test_counts_add_up_task_by_task(store: Store, run_id: str) -> None:
    await store.save(
        [
            a_labelled("1"),
            a_labelled("2", route="audit"),
            a_labelled("3", route="review"),
            a_labelled("4", route="scratch", pre_label=a_pre_label()),
            a_failed("5"),
            a_failed("6", task="segmentation"),
        ],
        run_id=run_id,
    )

    counts = await store.counts(run_id)

    assert counts == [
        TaskCounts(task="detection", labels=3, nothing_found=1, failed=1, accept=1, audit=1, review=1, scratch=1),
        TaskCounts(task="segmentation", failed=1),
    ]
    assert [count.items for count in counts] == [5, 1]


async def test_only_items_that_a_human_must_see_are_queued(store: Store, run_id: str) -> None:
    routes: dict[str, Route] = {"1": "accept", "2": "audit", "3": "review", "4": "scratch"}
    await store.save([a_labelled(name, route=route, queue=f"q{name}") for name, route in routes.items()], run_id=run_id)

    queues = await store.queues()

    assert [(queue.name, queue.pending) for queue in queues] == [("q2", 1), ("q3", 1), ("q4", 1)]
    assert all(queue.oldest is not None for queue in queues)


async def test_a_resumed_run_knows_what_it_may_skip(store: Store, run_id: str) -> None:
    await store.save([a_labelled("done\0"), a_failed("failed"), a_labelled("other", task="ner")], run_id=run_id)
    await store.finish_run(run_id, status="failed")

    resumed = await store.start_run("a drop", run_id=run_id)

    asked = ["done\0", "failed", "other", "new"]
    assert await store.labelled_ids(resumed, task="detection", item_ids=asked) == {"done\0"}
    assert (await store.run(run_id)).status == "running"


async def test_a_drop_may_be_larger_than_a_statement_has_parameters(store: Store, run_id: str) -> None:
    await store.save([a_labelled("7")], run_id=run_id)

    found = await store.labelled_ids(run_id, task="detection", item_ids=map(str, range(70_000)))

    assert found == {"7"}


async def test_a_very_long_id_is_kept_by_its_digest(store: Store, run_id: str) -> None:
    long_ids = ["ü" * 5000 + end for end in "ab"]
    await store.save([a_labelled(long_ids[0]), a_failed(long_ids[1]), a_labelled("short")], run_id=run_id)

    assert await store.labelled_ids(run_id, task="detection", item_ids=long_ids) == {long_ids[0]}
    assert len({result.outcome.item.id for result in await store.results(run_id)}) == 3


async def test_a_finished_run_says_when(store: Store, run_id: str) -> None:
    await store.finish_run(run_id)

    [run] = await store.runs()

    assert (run.id, run.name, run.status) == (run_id, "a drop", "done")
    assert run.finished_at is not None
    assert run.finished_at >= run.created_at


async def test_an_unknown_run_is_not_found(store: Store) -> None:
    with pytest.raises(NotFoundError, match="no run 'nowhere'"):
        await store.save([a_labelled()], run_id="nowhere")
    with pytest.raises(NotFoundError):
        await store.run("nowhere")
    with pytest.raises(NotFoundError):
        await store.finish_run("nowhere")


async def test_a_failing_save_leaves_nothing_behind(store: Store, run_id: str) -> None:
    labelled = a_labelled("two", route="review")
    unknown_route = replace(labelled, decision=replace(labelled.decision, route="nowhere"))

    with pytest.raises(DBAPIError, match="decisions_route"):
        await store.save([a_labelled("one", route="review"), unknown_route], run_id=run_id)

    assert await store.results(run_id) == []
    assert await store.queues() == []


@pytest.mark.parametrize("statement", ["UPDATE prelabels SET status = 'labels'", "UPDATE decisions SET reason = ''"])
async def test_what_a_model_said_is_never_changed(store: Store, run_id: str, statement: str) -> None:
    await store.save([a_labelled()], run_id=run_id)

    with pytest.raises(DBAPIError, match="written once"):
        async with store.engine.begin() as connection:
            await connection.execute(text(statement))


async def test_a_page_of_results_is_read_through_an_index(store: Store, run_id: str) -> None:
    await store.save([a_labelled(str(i), pre_label=a_pre_label()) for i in range(500)], run_id=run_id)

    plan = await _plan(store, select(prelabels.c.id).where(prelabels.c.run_id == run_id, prelabels.c.id > 400).limit(9))

    assert "Seq Scan" not in plan


async def _until_waiting(store: Store, count: int) -> None:
    """Wait until so many statements of this database wait for locks."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(100), store.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        while (await connection.execute(waiting)).scalar_one() < count:
            pass


async def _plan(store: Store, query: object) -> str:
    compiled = query.compile(store.engine.sync_engine, compile_kwargs={"literal_binds": True})  # pyright: ignore[reportAttributeAccessIssue]
    async with store.engine.connect() as connection:
        return "\n".join((await connection.execute(text(f"EXPLAIN {compiled}"))).scalars())


async def _digest(store: Store, item_id: str) -> str | None:
    items = metadata.tables["items"]
    async with store.engine.connect() as connection:
        return (await connection.execute(select(func.max(items.c.digest)).where(items.c.id == item_id))).scalar()


async def test_more_saves_than_the_store_can_take_are_refused_until_some_are_done(store: Store) -> None:
    saving = [asyncio.create_task(store.save([a_labelled(f"{n}")], run_id=None)) for n in range(1_025)]
    await asyncio.sleep(0)  # all have come, none is written

    with pytest.raises(OverloadedError, match="1025 calls wait"):
        store.check_room()

    await asyncio.gather(*saving)
    store.check_room()


async def test_more_saves_into_runs_than_the_store_can_take_are_refused(store: Store, run_id: str) -> None:
    saving = [asyncio.create_task(store.save([a_labelled(f"{n}")], run_id=run_id)) for n in range(50)]
    await asyncio.sleep(0)  # all have begun, none is done

    with pytest.raises(OverloadedError, match="50 calls wait"):
        store.check_room()

    await asyncio.gather(*saving)
    store.check_room()


async def test_a_save_into_a_run_that_another_holds_too_long_is_refused(store: Store, run_id: str) -> None:
    async with store.engine.connect() as other:
        await other.execute(text("SELECT 1 FROM runs FOR UPDATE"))
        with pytest.raises(OverloadedError, match="nothing is stored"):
            await store.save([a_labelled()], run_id=run_id, begin_by=asyncio.get_running_loop().time() + 0.05)

    assert await store.results(run_id) == []


async def test_saves_that_wait_at_the_same_time_share_a_transaction_and_keep_their_runs(store: Store) -> None:
    calls = [_mixed(str(n)) for n in range(20)]

    answers = await asyncio.gather(*(store.save(outcomes, run_id=None) for outcomes in calls))

    assert answers == calls
    assert [len(names) for names in await _by_transaction(store)] == [20]
    assert all(run.status == "done" and run.name == "online" and run.finished_at for run in await store.runs())
    assert sorted(await _outcomes_of_runs(store), key=_first_id) == sorted(calls, key=_first_id)
    assert sum(queue.pending for queue in await store.queues()) == 20


async def test_what_is_refused_within_a_call_is_refused_in_a_group_too(store: Store) -> None:
    bad = replace(a_labelled("bad"), pre_label=a_pre_label(uncertainty=float("nan")))
    twins = [_named_after("Ada in Rome"), _named_after("Bob in Oslo")]
    again = [_named_after("Bob in Oslo"), _named_after("Bob in Oslo"), a_failed("one", task="ner")]

    first, second, third = await asyncio.gather(
        store.save([a_labelled("good"), bad], run_id=None),
        store.save(twins, run_id=None),
        store.save(again, run_id=None),
    )

    assert [len(names) for names in await _by_transaction(store)] == [3]
    assert [_code(outcome) for outcome in first] == [None, "invalid_prediction"]
    assert [_code(outcome) for outcome in second] == [None, "reused_id"]
    assert third == again
    stored = await _outcomes_of_runs(store)  # a twin is stored once, and a failure after a pre-label not at all
    assert len(stored) == 3
    assert all(kept in stored for kept in (first, twins[:1], again[:1]))


async def test_a_call_that_the_database_refuses_fails_alone_in_its_group(store: Store) -> None:
    bad = a_labelled("bad", route="review")
    bad = replace(bad, decision=replace(bad.decision, route="nowhere"))

    answers = await asyncio.gather(
        *(store.save([outcome], run_id=None) for outcome in (a_labelled("one"), bad, a_labelled("two"))),
        return_exceptions=True,
    )

    assert answers[0] == [a_labelled("one")]
    assert isinstance(answers[1], DBAPIError)
    assert answers[2] == [a_labelled("two")]
    assert sorted(await _by_transaction(store)) == [["one"], ["two"]]
    assert len(await store.runs()) == 2
    assert await store.queues() == []


async def test_a_save_that_is_cancelled_while_it_waits_is_not_stored(store: Store) -> None:
    async with store.engine.connect() as other:
        await other.execute(text("LOCK TABLE items IN SHARE MODE"))  # the first group stops half-way
        begun = [asyncio.create_task(store.save([a_labelled(name)], run_id=None)) for name in ("begun", "beside")]
        await _until_waiting(store, 1)
        waits = [asyncio.create_task(store.save([a_labelled(name)], run_id=None)) for name in ("left", "stays")]
        await asyncio.sleep(0)
        for left in (begun[0], waits[0]):
            left.cancel()
            await asyncio.wait([left])
    await asyncio.gather(begun[1], waits[1])

    assert begun[0].cancelled()
    assert waits[0].cancelled()
    assert await _by_transaction(store) == [["begun", "beside"], ["stays"]]


async def test_a_database_that_dies_under_a_group_is_said_to_all_of_it_and_stores_nothing_twice(
    store: Store, block_database: Callable[[bool], None]
) -> None:
    calls = {name: [a_labelled(name)] for name in "abcdefgh"}
    async with store.engine.connect() as other:
        await other.execute(text("LOCK TABLE decisions IN SHARE MODE"))  # the group stops half-way
        saving = [asyncio.create_task(store.save(outcomes, run_id=None)) for outcomes in calls.values()]
        await _until_waiting(store, 1)
        saving += [asyncio.create_task(store.save([a_labelled("later")], run_id=None))]
        await asyncio.to_thread(block_database, True)
        answers = await asyncio.gather(*saving, return_exceptions=True)
        await other.invalidate()
    await asyncio.to_thread(block_database, False)
    again = await store.save(calls["a"], run_id=None)

    assert [type(answer) for answer in answers] == [StoreUnavailableError] * 9
    assert again == calls["a"]
    assert await _by_transaction(store) == [["a"]]


async def test_a_store_that_is_closed_while_saves_wait_writes_them_first(postgres_url: str) -> None:
    async with Store.open(postgres_url) as store:
        saving = [asyncio.create_task(store.save([a_labelled(str(n))], run_id=None)) for n in range(300)]
        await asyncio.sleep(0)
    answers = await asyncio.gather(*saving)

    assert answers == [[a_labelled(str(n))] for n in range(300)]
    async with Store.open(postgres_url) as opened:
        assert sum(len(names) for names in await _by_transaction(opened)) == 300


async def test_a_row_set_may_be_larger_than_a_document(store: Store, run_id: str) -> None:
    outcomes = [a_labelled(str(n), task="ner", item=an_item(str(n), text=f"{n}" * 6_000_000)) for n in range(4)]

    await store.save(outcomes, run_id=run_id)

    assert [result.outcome for result in await store.results(run_id)] == outcomes


async def test_a_threshold_that_nothing_reaches_is_kept(store: Store, run_id: str) -> None:
    labelled = a_labelled()
    labelled = replace(labelled, decision=replace(labelled.decision, threshold=float("inf")))

    await store.save([labelled], run_id=run_id)

    assert [result.outcome for result in await store.results(run_id)] == [labelled]


def _mixed(name: str) -> list[Outcome]:
    return [a_labelled(f"{name}-b", route="review"), a_labelled(f"{name}-a"), a_failed(f"{name}-c")]


def _first_id(outcomes: Sequence[Outcome]) -> str:
    return outcomes[0].item.id


def _code(outcome: Outcome) -> str | None:
    return outcome.failure.code if isinstance(outcome, Failed) else None


async def _outcomes_of_runs(store: Store) -> list[list[Outcome]]:
    """Each run's results, as they come out."""
    return [[result.outcome for result in await store.results(run.id)] for run in await store.runs(limit=1_000)]


async def _by_transaction(store: Store) -> list[list[str]]:
    """The ids of the first pre-labels of the runs, by the transaction that stored them."""
    first = text("""
        SELECT array_agg(item_id ORDER BY item_id) FROM prelabels
        WHERE id IN (SELECT min(id) FROM prelabels GROUP BY run_id)
        GROUP BY xmin::text ORDER BY min(id)
    """)
    async with store.engine.connect() as connection:
        return list((await connection.execute(first)).scalars())


async def test_a_store_whose_tables_are_current_may_be_away_when_it_is_opened() -> None:
    nowhere = "postgresql://postgres@127.0.0.1:1/postgres"

    async with Store.open(nowhere, is_current=True) as away:
        assert not await away.is_reachable()
    with pytest.raises(ConfigError, match="cannot use the store"):
        async with Store.open(nowhere):
            pass
