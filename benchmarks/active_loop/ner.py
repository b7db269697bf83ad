"""Is the loop over texts: the demo's tagger, and sentences of kinds that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np

from benchmarks.active_loop.subject import Example, Lesson, Subject
from models.demo.sentences import LABELS, Part, Sentence, Span, a_held_out_text
from models.types import Annotation, TextSpan
from pipelines.policy.terms import Terms
from pipelines.policy.thresholds import ThresholdPolicy

STEPS, BATCH, PEAK_RATE = 120, 16, 5e-4


def draw(part: str, n: int, name: str, rng: np.random.Generator) -> list[Example]:
    """Texts with names that the tagger's training never saw."""
    known: dict[str, Part] = {known: known for known in get_args(Part)}
    return [_example(f"{name}-{number}", part, a_held_out_text(known[part], rng)) for number in range(n)]


def _example(item_id: str, part: str, sentence: Sentence) -> Example:
    truth = (
        Annotation(
            id=str(number),
            label=span.label,
            geometry=TextSpan(start=span.start, end=span.end),
            score=1.0,
            text=sentence.text[span.start : span.end],
        )
        for number, span in enumerate(sentence.spans)
    )
    return Example(id=item_id, part=part, content=sentence.text, truth=tuple(truth))


def learn(base: Path, folder: Path, lessons: Sequence[Lesson], seed: int) -> None:
    from models.demo.train_ner import fine_tune

    fine_tune(
        base,
        folder,
        sentences=[sentence(lesson) for lesson in lessons],
        steps=STEPS,
        batch=BATCH,
        peak_rate=PEAK_RATE,
        seed=seed,
    )


def sentence(lesson: Lesson) -> Sentence:
    spans = (
        Span(start=one.geometry.start, end=one.geometry.end, label=one.label)
        for one in lesson.answer
        if isinstance(one.geometry, TextSpan)
    )
    return Sentence(text=str(lesson.content), spans=tuple(sorted(spans, key=lambda span: span.start)))


def subject() -> Subject:
    from models.demo.train import WEIGHTS

    return Subject(
        task="ner",
        mixture={"easy": 0.6, "hard": 0.2, "out_of_domain": 0.2},
        labels=LABELS,
        base=WEIGHTS / "ner",
        draw=draw,
        learn=learn,
        terms=Terms(queue="texts", alpha=0.05, delta=0.05, audit_rate=0.05, min_n=50),
        by_eye=ThresholdPolicy(queue="texts", accept_score=0.8, accept_no_miss=0.7, accept_nothing_found=0.9),
        target=0.90,
    )
