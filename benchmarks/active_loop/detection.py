"""Is the loop over images: the demo's detector, and scenes that are harder than those it was trained for."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, get_args

import numpy as np

from benchmarks.active_loop.subject import Example, Lesson, Subject
from models.demo.scenes import HELD_OUT_SEEDS, LABELS, Part, Scene, scene
from models.types import Annotation, Box
from pipelines.policy.terms import Terms
from pipelines.policy.thresholds import ThresholdPolicy

STEPS, BATCH, PEAK_RATE = 80, 8, 8e-4
_QUALITY = 92  # of the JPEGs


def draw(part: str, n: int, name: str, rng: np.random.Generator) -> list[Example]:
    """Scenes that the detector's training never saw.

    Only the shapes that it has a class for are objects: the guideline asks for no others, and an unknown shape that is
    marked is an error.
    """
    known: dict[str, Part] = {known: known for known in get_args(Part)}
    seeds = rng.integers(HELD_OUT_SEEDS.start, HELD_OUT_SEEDS.stop, size=n).tolist()
    return [_example(f"{name}-{number}", part, scene(seed, known[part])) for number, seed in enumerate(seeds)]


def _example(item_id: str, part: str, drawn: Scene) -> Example:
    from PIL import Image

    file = BytesIO()
    Image.fromarray(drawn.image_rgb).save(file, "JPEG", quality=_QUALITY)
    objects = [(label, box) for label, box in zip(drawn.labels, drawn.boxes_xyxy.tolist(), strict=True)]
    truth = (
        Annotation(id=str(number), label=label, geometry=Box(xyxy=tuple(box)), score=1.0)
        for number, (label, box) in enumerate(objects)
        if label in LABELS
    )
    height, width = drawn.image_rgb.shape[:2]
    return Example(id=item_id, part=part, content=file.getvalue(), truth=tuple(truth), size_hw=(height, width))


def learn(base: Path, folder: Path, lessons: Sequence[Lesson], seed: int) -> None:
    from models.demo.train_detection import fine_tune

    examples = [_learnt(lesson) for lesson in lessons]
    fine_tune(base, folder, examples=examples, steps=STEPS, batch=BATCH, peak_rate=PEAK_RATE, seed=seed)


def _learnt(lesson: Lesson) -> Any:
    from PIL import Image

    from models.demo.train_detection import example

    if isinstance(lesson.content, str):
        raise TypeError(f"a lesson of images holds a JPEG; got the text '{lesson.content[:20]}'")
    image = np.array(Image.open(BytesIO(lesson.content)).convert("RGB"))
    boxes = [one.geometry.xyxy for one in lesson.answer if isinstance(one.geometry, Box)]
    return example(image, np.array(boxes, dtype=np.float64).reshape(-1, 4), [one.label for one in lesson.answer])


def subject() -> Subject:
    from models.demo.train import WEIGHTS

    return Subject(
        task="detection",
        mixture={"easy": 0.6, "hard": 0.1, "out_of_domain": 0.3},
        labels=LABELS,
        base=WEIGHTS / "detection",
        draw=draw,
        learn=learn,
        terms=Terms(queue="images", alpha=0.10, delta=0.05, audit_rate=0.05, min_n=30),
        by_eye=ThresholdPolicy(queue="images", accept_score=0.6, accept_no_miss=0.6, accept_nothing_found=0.95),
        target=0.83,
    )
