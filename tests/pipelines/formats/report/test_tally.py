"""Tests that one pass over a run gathers what sorting and counting all of it would."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PosixPath
from random import Random
from typing import ClassVar, Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from models.types import Task, TextSpan
from pipelines.formats import report
from pipelines.formats.report import Entry
from pipelines.formats.report.histogram import BINS
from pipelines.formats.report.tally import MAX_CARDS, TaskTally, tally
from pipelines.formats.results import Result
from pipelines.formats.summary import summarise
from tests.pipelines.formats.builders import a_failure, a_result, an_annotation
from tests.pipelines.formats.report.pages import an_entry

TASKS: tuple[Task, ...] = ("detection", "ner", "speech")


def a_random_entry(number: int, random: Random) -> Entry:
    """One of few scores and uncertainties, so that many are equal."""
    task = random.choice(TASKS)
    if random.random() < 0.3:
        return an_entry(a_failure(str(number), task=task, code=random.choice("abc")))
    scores = random.choices([0.0, 0.3, 0.33, 0.95, 1.0], k=random.choice([0, 1, 3]))
    labels = [an_annotation(str(place), score=score) for place, score in enumerate(scores)]
    result = a_result(
        str(number),
        *labels,
        task=task,
        route=random.choice(["accept", "audit", "review", "scratch"]),
        threshold=random.choice([None, 0.5, 0.7]),
        uncertainty={name: random.choice([0.0, 0.25, 0.5, 1.0]) for name in random.sample("abc", random.randrange(4))},
    )
    return an_entry(result if random.random() < 0.9 else replace(result, decision=None))


RUNS = st.builds(
    lambda items, random: [a_random_entry(number, random) for number in range(items)],
    st.sampled_from([0, 1, 10, 400, 1_500]),
    st.randoms(use_true_random=False),
)


@given(RUNS)
@settings(max_examples=25, deadline=None)
def test_cards_are_those_that_sorting_all_items_gives(entries: list[Entry]) -> None:
    gathered = tally(entries)

    for task, of_task in gathered.tasks.items():
        worked = [entry for entry in entries if entry.result.task == task and entry.result.status != "failed"]
        by_doubt = sorted(worked, key=lambda entry: _doubt(entry.result), reverse=True)
        assert [entry.result.id for entry in of_task.most_uncertain] == [e.result.id for e in by_doubt[:MAX_CARDS]]
        assert of_task.worked == len(worked)
    assert list(gathered.tasks) == list(dict.fromkeys(entry.result.task for entry in entries))


@given(RUNS)
@settings(max_examples=25, deadline=None)
def test_every_item_counts_shown_or_not(entries: list[Entry]) -> None:
    gathered = tally(entries)

    results = [entry.result for entry in entries]
    failed = [entry for entry in entries if entry.result.status == "failed"]
    assert [of_task.counts.summary() for of_task in gathered.tasks.values()] == summarise(results, {})
    assert (gathered.failed, gathered.failed_items) == (failed[:MAX_CARDS], len(failed))
    assert gathered.failures == Counter(entry.result.error.code for entry in failed if entry.result.error)
    for task, of_task in gathered.tasks.items():
        found, of_bar = of_task.scores.histogram(), _bars(results, task)
        assert [(bar.accepted, bar.review) for bar in found.bars] == [
            (of_bar[place, "accepted"], of_bar[place, "review"]) for place in range(BINS)
        ]


def test_of_equal_items_the_first_come_first() -> None:
    of_task = TaskTally("detection")
    for number in range(3 * MAX_CARDS):
        of_task.add(an_entry(a_result(str(number), uncertainty={"a": 0.5})))

    assert [entry.result.id for entry in of_task.most_uncertain] == [str(number) for number in range(MAX_CARDS)]


def test_what_made_the_labels_is_gathered_of_items_that_are_not_shown_too() -> None:
    entries = [an_entry(a_result(str(number), uncertainty={"a": 0.5})) for number in range(MAX_CARDS)]
    last = a_result("last", uncertainty={"a": 0.0}, route="audit")
    assert last.provenance is not None
    late = datetime(2026, 5, 1, tzinfo=UTC)
    made = replace(last.provenance, chain=("other@1:ff",), policy_id="p", calibration_id="c", created_at=late)

    gathered = tally([*entries, an_entry(replace(last, provenance=made))])

    assert list(gathered.models) == ["detector@2:0123456789ab", "other@1:ff"]
    assert list(gathered.routes) == ["review", "audit"]
    assert gathered.tasks["detection"].policies == {"thresholds-1", "p"}
    assert gathered.tasks["detection"].calibrations == {"c"}
    assert gathered.latest == late
    assert "last" not in [entry.result.id for entry in gathered.shown()]


def test_the_memory_for_a_page_does_not_grow_with_the_run(tmp_path: Path) -> None:
    texts = _Texts(items=20_000, characters=5_000)

    tracemalloc.start()
    report.write(iter(texts), tmp_path / "report.html", title="A run")
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert texts.given_bytes == 100_000_000
    assert peak_bytes < 25_000_000


class _Texts:
    """A run that is made while it is read, every seventh item failed."""

    def __init__(self, *, items: int, characters: int) -> None:
        self._items, self._characters = items, characters
        self.given_bytes = 0

    def __iter__(self) -> Iterator[Entry]:
        random = Random(7)
        for number in range(self._items):
            text = f"{number:05} ".ljust(self._characters, "x")
            self.given_bytes += len(text)
            span = an_annotation(geometry=TextSpan(start=0, end=5), score=random.random())
            result = a_result(str(number), span, task="ner", uncertainty={"least_confidence": random.random()})
            yield an_entry(result if number % 7 else a_failure(str(number), task="ner"), text=text)


class _Watched(PosixPath):
    """A file that notes when it is read."""

    read: ClassVar = set[str]()

    def read_bytes(self) -> bytes:
        self.read.add(self.name)
        return super().read_bytes()


def test_only_files_of_cards_are_opened(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("Ada Varga left.")
    entries = []
    for number in range(2 * MAX_CARDS):
        (file := _Watched(tmp_path / str(number))).symlink_to(tmp_path / "text")
        entries.append(an_entry(a_result(file.name, task="ner", uncertainty={"a": number / 1_000}), source=file))

    report.write(entries, tmp_path / "report.html", title="A run")

    assert _Watched.read == {str(number) for number in range(MAX_CARDS, 2 * MAX_CARDS)}
    assert (tmp_path / "report.html").read_text().count("Ada Varga") == MAX_CARDS


def _doubt(result: Result) -> tuple[float, float]:
    values = list(result.uncertainty.values()) or [1.0]
    return max(values), sum(values) / len(values)


def _bars(results: list[Result], task: Task) -> Counter[tuple[int, Literal["accepted", "review"]]]:
    """Items with labels by the bar of their lowest score and by what the policy did."""
    counts = Counter[tuple[int, Literal["accepted", "review"]]]()
    for result in results:
        if result.task == task and result.annotations and result.decision:
            lowest = min(annotation.score for annotation in result.annotations)
            bar = next(place for place in reversed(range(BINS)) if lowest >= place / BINS)
            counts[bar, "accepted" if result.decision.route in ("accept", "audit") else "review"] += 1
    return counts
