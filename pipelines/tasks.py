"""Holds what is known of each task: its media, its models and geometries, and how its signals become uncertainty."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from models.types import (
    MEDIA_OF_TASK,
    Box,
    BoxPrompt,
    Mask,
    Media,
    Polygon,
    Prediction,
    Prompts,
    Task,
    TextSpan,
    TimeSpan,
    WholeItem,
)

# Above this ratio a transcript repeats itself (Radford et al. 2022, §4.5); an ordinary text stays below 1.
_REPETITIVE = 2.4


# Where a label of each task can apply.
GEOMETRIES: dict[Task, tuple[type, ...]] = {
    "detection": (WholeItem, Box),
    "segmentation": (WholeItem, Box, Polygon, Mask),
    "ner": (WholeItem, TextSpan),
    "speech": (WholeItem, TimeSpan),
}
# What the models of a task do, one after the other: a segmenter takes the caller's prompts, or those of a detector.
CHAINS: dict[Task, tuple[list[Task], ...]] = {
    "detection": (["detection"],),
    "segmentation": (["detection", "segmentation"], ["segmentation"]),
    "ner": (["ner"],),
    "speech": (["speech"],),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCard:
    """A task and the models that do it, in order; each model after the first is prompted by the one before."""

    task: Task
    models: tuple[str, ...]

    @property
    def media(self) -> Media:
        return MEDIA_OF_TASK[self.task]


def prompts_from(prediction: Prediction) -> Prompts:
    """Box prompts for a segmenter from a detector's boxes; labels and ids travel along."""
    return Prompts(
        boxes=tuple(
            BoxPrompt(xyxy=annotation.geometry.xyxy, label=annotation.label, parent_id=annotation.id)
            for annotation in prediction.annotations
            if annotation.geometry.kind == "box"
        )
    )


def chained(first: Prediction, second: Prediction) -> Prediction:
    """One prediction from a chain's two steps: the boxes, then the masks made from them.

    The masks' ids get an "m" in front, so that they stay apart from the boxes that their ``parent_id`` names. Signals
    of both are kept; ``min_score`` and ``no_miss`` are the lower ones.
    """
    second_annotations = tuple(replace(a, id=f"m{a.id}") for a in second.annotations)
    signals = first.signals | second.signals
    for name in {"min_score", "no_miss"} & first.signals.keys() & second.signals.keys():
        signals[name] = min(first.signals[name], second.signals[name])
    return replace(first, annotations=first.annotations + second_annotations, signals=signals)


def only(prediction: Prediction, labels: tuple[str, ...]) -> Prediction:
    """The prediction with the wanted labels alone, and ``min_score`` taken over these; no labels means all."""
    if not labels:
        return prediction
    kept = tuple(annotation for annotation in prediction.annotations if annotation.label in labels)
    signals = {name: value for name, value in prediction.signals.items() if name != "min_score"}
    if kept:
        signals["min_score"] = min(annotation.score for annotation in kept)
    return replace(prediction, annotations=kept, signals=signals)


def uncertainty(task: Task, signals: Mapping[str, float]) -> dict[str, float]:
    """A task's named uncertainty vector from a prediction's signals (models/signals.py).

    Every entry lies in [0, 1]; 1 means "no idea". An entry whose signal is missing is left out, never guessed.
    """
    readings = {name: reading(signals) for name, (needs, reading) in _READINGS[task].items() if needs in signals}
    return {name: min(max(value, 0.0), 1.0) for name, value in readings.items()}


# name of the entry → the signal that it needs, and how to read it
_SHARED = {
    "least_confidence": ("min_score", lambda s: 1.0 - s["min_score"]),
    "miss_risk": ("no_miss", lambda s: 1.0 - s["no_miss"]),
}
_ENTROPIES = {
    "entropy_max": ("entropy_max", lambda s: s["entropy_max"]),
    "entropy_mean": ("entropy_mean", lambda s: s["entropy_mean"]),
}
_DETECTION = _SHARED | _ENTROPIES | {"margin": ("margin_max", lambda s: s["margin_max"])}
_READINGS = {
    "detection": _DETECTION,
    "segmentation": _DETECTION
    | {
        "instability": ("stability_min", lambda s: 1.0 - s["stability_min"]),
        "mask_error": ("soft_iou_min", lambda s: 1.0 - s["soft_iou_min"]),
    },
    "ner": _SHARED
    | _ENTROPIES
    | {
        "sentence": ("sentence", lambda s: 1.0 - s["sentence"]),
        "mnlp": ("mnlp", lambda s: 1.0 - math.exp(s["mnlp"])),
    },
    "speech": _SHARED
    | {
        "mean_word": ("mean_word_score", lambda s: 1.0 - s["mean_word_score"]),
        "logprob": ("mean_logprob", lambda s: 1.0 - math.exp(s["mean_logprob"])),
        "repetition": ("compression_ratio", lambda s: (s["compression_ratio"] - 1.0) / (_REPETITIVE - 1.0)),
        "temperature": ("temperature", lambda s: s["temperature"]),
    },
}
