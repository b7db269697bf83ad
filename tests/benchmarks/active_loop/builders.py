"""Builds examples, subjects and loops for the tests of the active loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.active_loop import ner
from benchmarks.active_loop.rounds import Loop, Round
from benchmarks.active_loop.subject import Lesson, Subject
from benchmarks.active_loop.truth import Accepted
from pipelines.sampling import Strategy


def a_subject(lessons_seen: list[Sequence[Lesson]] | None = None) -> Subject:
    """The texts, and a model that learns in two steps; what it was given is kept."""
    from models.demo.train_ner import fine_tune

    def learn(base: Path, folder: Path, lessons: Sequence[Lesson], seed: int) -> None:
        if lessons_seen is not None:
            lessons_seen.append(lessons)
        sentences = [ner.sentence(lesson) for lesson in lessons]
        fine_tune(base, folder, sentences=sentences, steps=2, batch=4, peak_rate=1e-4, seed=seed)

    return replace(ner.subject(), learn=learn)


def a_round(number: int = 1, *, items: int = 1_000, accepted: int = 500, wrong: int = 10, **more: object) -> Round:
    of_all = {"all": Accepted(items=items, accepted=accepted, wrong=wrong)}
    values: dict[str, object] = {
        "number": number,
        "model": f"tagger@{number}:abc",
        "chosen_labels": 40 * (number - 1),
        "random_labels": 100 * number,
        "wrong_answers": 0,
        "lessons": 0,
        "quality": {"all": 0.8},
        "certified_on": 100,
        "calibrated_on": 0,
        "threshold": 0.9,
        "bound": 0.045,
        "expected": accepted / items,
        "drop": of_all,
        "fresh": of_all,
        "by_eye": {"all": Accepted(items=items, accepted=700, wrong=90)},
        "accepted_by_older": 0,
        "suspended": False,
        "seconds": 1.0,
    }
    return Round(**(values | more))  # pyright: ignore[reportArgumentType]


def a_loop(
    qualities: Sequence[float] = (0.8, 0.9),
    *,
    strategy: Strategy = "hybrid",
    seed: int = 0,
    rounds: Sequence[Round] | None = None,
) -> Loop:
    """A loop with 40 labels chosen in each round; the last quality is that of the last model."""
    given = [a_round(number, quality={"all": value}) for number, value in enumerate(qualities[:-1], start=1)]
    return Loop(
        task="ner",
        strategy=strategy,
        seed=seed,
        rounds=tuple(given if rounds is None else rounds),
        chosen_labels=40 * (len(qualities) - 1),
        last_quality={"all": qualities[-1]},
    )
