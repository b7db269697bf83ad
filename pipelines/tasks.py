"""Holds what is known of each task: its media, its models and geometries, and how its signals become uncertainty."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from models.signals import binary_entropy
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
# Speech that is read or told has some 2 to 3 words a second; twice as far on either side is our own choice.
_SLOWEST, _FASTEST = 1.0, 5.0

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
    of both are kept; ``min_score`` and ``no_miss`` are the lower ones. The embedding is the first model's, which sees
    every item, or the second's where the first has none.
    """
    second_annotations = tuple(replace(a, id=f"m{a.id}") for a in second.annotations)
    signals = first.signals | second.signals
    for name in {"min_score", "no_miss"} & first.signals.keys() & second.signals.keys():
        signals[name] = min(first.signals[name], second.signals[name])
    embedding = first.embedding or second.embedding
    return replace(first, annotations=first.annotations + second_annotations, signals=signals, embedding=embedding)


def only(prediction: Prediction, labels: tuple[str, ...]) -> Prediction:
    """The prediction with the wanted labels alone, and ``min_score`` taken over these; no labels means all."""
    if not labels:
        return prediction
    kept = tuple(annotation for annotation in prediction.annotations if annotation.label in labels)
    signals = {name: value for name, value in prediction.signals.items() if name != "min_score"}
    if kept:
        signals["min_score"] = min(annotation.score for annotation in kept)
    return replace(prediction, annotations=kept, signals=signals)


@dataclass(frozen=True, slots=True)
class _Reading:
    """How an entry is read from the signals that it needs; not where one of those is there that it is read without."""

    needs: tuple[str, ...]
    read: Callable[[Mapping[str, float]], float]
    without: tuple[str, ...] = ()

    def applies(self, signals: Mapping[str, float]) -> bool:
        return all(name in signals for name in self.needs) and not any(name in signals for name in self.without)


def uncertainty(task: Task, signals: Mapping[str, float]) -> dict[str, float]:
    """A task's named uncertainty vector from a prediction's signals (models/signals/).

    Every entry lies in [0, 1]; 1 means "no idea". An entry whose signal is missing is left out, never guessed; one that
    is no number counts as "no idea". Items without annotations, which have no ``min_score``, have ``nothing_found``:
    the entropy in bits of whether something is there, on the scale of the entropies of items that have some. The
    ``miss_risk`` beside it is the plain probability, which counts for items of both kinds.
    """
    readings = {name: own.read(signals) for name, own in _READINGS[task].items() if own.applies(signals)}
    return {name: 1.0 if math.isnan(value) else min(max(value, 0.0), 1.0) for name, value in readings.items()}


def _same(signal: str) -> _Reading:
    """A signal that is an uncertainty in [0, 1] already."""
    return _Reading((signal,), lambda signals: signals[signal])


def _doubt(signal: str) -> _Reading:
    """1 − a signal in [0, 1] of which more is safer."""
    return _Reading((signal,), lambda signals: 1.0 - signals[signal])


def _of_logprob(signal: str) -> _Reading:
    """1 − the probability whose logarithm the signal is."""
    return _Reading((signal,), lambda signals: 1.0 - math.exp(min(signals[signal], 0.0)))


def _of_sum(signal: str) -> _Reading:
    """1 − exp(−sum): near the sum while that is small, and never above 1 however many parts it has."""
    return _Reading((signal,), lambda signals: 1.0 - math.exp(-max(signals[signal], 0.0)))


def _of_presence(*signals: str) -> _Reading:
    """Entropy in bits of whether something is there, for items without annotations.

    Each signal says how sure it is that nothing is; the least sure counts. From a half on it is 1 and stays there: a
    model that rather thinks there is something, and shows nothing, has no idea either.
    """

    def read(values: Mapping[str, float]) -> float:
        presence = 1.0 - min(values[name] for name in signals)
        return float(binary_entropy(np.array([min(max(presence, 0.0), 0.5)]))[0])

    return _Reading(signals, read, without=("min_score",))


def _off_pace(words_per_s: float) -> float:
    """0 from 1 to 5 words a second; towards 1 the slower (words are missing) or the faster (words are made up)."""
    return max(1.0 - words_per_s / _SLOWEST, 1.0 - _FASTEST / max(words_per_s, 1e-9), 0.0)


_SHARED = {"least_confidence": _doubt("min_score"), "miss_risk": _doubt("no_miss")}
_ENTROPIES = {name: _same(name) for name in ("entropy_max", "entropy_mean")} | {"entropy_sum": _of_sum("entropy_sum")}
_DETECTION = (
    _SHARED
    | _ENTROPIES
    | {
        "softmin": _doubt("softmin_score"),
        "margin": _same("margin_max"),
        "nothing_found": _of_presence("no_miss"),
    }
)
_DROPOUT = tuple(f"{name}_{of}" for name in ("mutual_information", "variation_ratio") for of in ("max", "mean"))
_READINGS: dict[Task, dict[str, _Reading]] = {
    "detection": _DETECTION,
    "segmentation": _DETECTION
    | {
        "instability": _doubt("stability_min"),
        "mask_error": _doubt("soft_iou_min"),
        "predicted_error": _doubt("predicted_iou_min"),
    },
    "ner": _SHARED
    | _ENTROPIES
    | {
        "nothing_found": _of_presence("no_miss"),
        "sentence": _doubt("sentence"),
        "mnlp": _of_logprob("mnlp"),
        "entropy_per_cost": _same("entropy_per_cost"),
    }
    | {name: _same(name) for name in _DROPOUT},
    "speech": _SHARED
    | {
        "nothing_found": _of_presence("no_miss", "no_speech"),
        "mean_word": _doubt("mean_word_score"),
        "logprob": _of_logprob("mean_logprob"),
        "repetition": _Reading(("compression_ratio",), lambda s: (s["compression_ratio"] - 1.0) / (_REPETITIVE - 1.0)),
        "temperature": _same("temperature"),
        "fallback": _Reading(("temperature",), lambda s: 1.0 if s["temperature"] > 0.0 else 0.0),
        "wordless": _same("wordless_share"),
        "pace": _Reading(("words_per_s",), lambda s: _off_pace(s["words_per_s"])),
        "tsallis_min": _doubt("tsallis_min"),
        "tsallis_mean": _doubt("tsallis_mean"),
        "expected_wer": _same("expected_wer"),
    },
}
