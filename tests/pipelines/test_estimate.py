"""Tests what a dry run says of a drop."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from models.types import Item
from pipelines.estimate import estimate
from pipelines.prelabel import Request
from pipelines.remarks import FindingCount, UnmappedCount
from pipelines.types import Failed, Failure, Labelled, Outcome
from tests.pipelines.test_batch import Listed, Words, texts
from tests.pipelines.test_remarks import a_finding, remarked

BAD = Failed(item=Item(id="line 7", media="text"), task="ner", failure=Failure(code="invalid_entry", message="no JSON"))


async def test_entries_are_counted_and_a_sample_is_labelled() -> None:
    labels = Words(fails=lambda item, times: "empty" if item.id < "t0010" else None)

    found = await estimate(Listed([*texts(20), BAD]), "ner", labels)

    assert (found.items, found.bad_entries, found.sampled) == (20, 1, 20)
    assert (found.accepted, found.review, found.failed) == (10, 0, {"empty": 10})
    assert found.seconds is not None


async def test_what_the_rules_found_in_the_sample_is_counted() -> None:
    class Remarked(Words):
        async def label(self, request: Request) -> Outcome:
            outcome = await super().label(request)
            assert isinstance(outcome, Labelled)
            remarked_too = remarked(a_finding(), a_finding(), unmapped={"tram": 3})
            return replace(outcome, pre_label=remarked_too)

    found = await estimate(Listed(texts(5)), "ner", Remarked())

    assert found.findings == (FindingCount(rule="sliver", action="flagged", findings=10, items=5),)
    assert found.unmapped == (UnmappedCount(label="tram", annotations=15, items=5),)


async def test_every_item_is_as_likely_to_be_in_the_sample() -> None:
    drawn = Counter[str]()
    for seed in range(400):
        labels = Words()
        await estimate(Listed(texts(128)), "ner", labels, seed=seed)
        assert len(labels.times) == 32
        drawn.update(labels.times.keys())

    expected = 400 * 32 / 128
    chi_square = sum((drawn[item.id] - expected) ** 2 / (expected * 0.75) for item in texts(128))
    assert chi_square < 195  # 127 degrees of freedom: exceeded once in 10,000 times


async def test_a_drop_without_items_takes_no_time_that_anybody_knows() -> None:
    found = await estimate(Listed([BAD]), "ner", Words())

    assert (found.items, found.sampled, found.items_per_s, found.seconds) == (0, 0, None, None)
