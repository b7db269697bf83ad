"""Makes up labelled scenes whose scores say something of what is right, without any detector."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from benchmarks.decisions.detector.labelling import LabelledScene, LabelledScenes
from benchmarks.decisions.detector.scenes import PARTS
from models.types import Annotation, Box, Item, Prediction
from pipelines.policy.conditions import Conditions
from pipelines.types import PreLabel, Provenance

CONDITIONS = Conditions(chain=("boxer@1:abababababab",), config_digest="cd" * 32)
WRONG_AT_WORST = {"easy": 0.3, "hard": 0.9, "out_of_domain": 0.9}


def a_box(score: float, *, label: str = "circle", left: float = 0.0) -> Annotation:
    return Annotation(id="0", label=label, score=score, geometry=Box(xyxy=(left, 0.0, left + 10.0, 10.0)))


def a_scene(
    *, part: str = "easy", number: int = 0, score: float = 0.9, truth: tuple[Annotation, ...] | None = None
) -> LabelledScene:
    """One predicted box; without a truth of its own it is right."""
    found = a_box(score)
    right = (found,) if truth is None else truth
    return LabelledScene(
        item=Item(id=f"{part}-{number}", media="image", uri=f"scene:{part}/{number}", meta={"source": part}),
        pre_label=PreLabel(
            prediction=Prediction(annotations=(found,), signals={"no_miss": 0.99, "min_score": score}),
            confidence=None,
            calibrated=False,
            uncertainty={},
            provenance=Provenance(
                model="boxer",
                model_version="1",
                weights_digest="ab" * 32,
                config_digest=CONDITIONS.config_digest,
                chain=CONDITIONS.chain,
                calibration_id=None,
                policy_id=None,
                item_digest=f"{part}-{number}",
                created_at=datetime(2026, 5, 1, tzinfo=UTC),
            ),
        ),
        truth=right,
        loss=float(right != (found,)),
    )


def some_scenes(of_part: int, *, seed: int = 1) -> LabelledScenes:
    """In each part, the higher a scene's box scores, the more often it is right."""
    rng, scenes = np.random.default_rng(seed), list[LabelledScene]()
    for part in PARTS:
        for number, score in enumerate(rng.uniform(0.0, 1.0, of_part).tolist()):
            is_wrong = rng.random() < WRONG_AT_WORST[part] * (1.0 - score)
            truth = (a_box(1.0, left=50.0),) if is_wrong else None
            scenes.append(a_scene(part=part, number=number, score=score, truth=truth))
    return LabelledScenes(scenes=scenes, conditions=CONDITIONS, model=CONDITIONS.chain[0], wall_s=1.0)
