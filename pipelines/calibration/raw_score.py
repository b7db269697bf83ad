"""Ranks predictions by how safe they look before anything has been fitted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from models.types import Annotation, Task
from pipelines.calibration.chances import chances
from pipelines.calibration.features import predicted_iou

# What a number that the adapter does not give is worth: neither a reason to trust nor the end of all ranking.
_UNKNOWN = 0.5


def raw_score(task: Task, signals: Mapping[str, float], annotations: Sequence[Annotation]) -> float:
    """How safe a prediction looks, in [0, 1]; higher is safer. No probability: it ranks, until a fit exists.

    detection, speech: min p · no_miss, over the boxes and over the words.
    ner: Π p · no_miss over the spans, which is the signal ``sentence`` (models/signals.py) of those that are left.
    segmentation: the lowest of stability, soft IoU, predicted IoU (clipped to [0, 1]), no_miss and p.
    Nothing found: no_miss, and 0 where it is missing, because nothing says that it is right.

    p is an annotation's confidence where it has one, its score otherwise. Each signal that is missing halves the score
    of a prediction with labels; it is never taken for 1. A value that is no number counts as 0.
    """
    no_miss = signals.get("no_miss")
    if not annotations:
        return 0.0 if no_miss is None else _share(no_miss)
    p = [_share(chance) for chance in chances(task, annotations)]
    match task:
        case "detection" | "speech":
            return min(p) * _known(no_miss)
        case "ner":
            return math.prod(p) * _known(no_miss)
        case "segmentation":
            read = [signals.get("stability_min"), signals.get("soft_iou_min"), predicted_iou(signals, annotations)]
            known = [_share(value) for value in (*read, no_miss) if value is not None]
            return min(*known, *p, 1.0) * _UNKNOWN ** (4 - len(known))


def _known(value: float | None) -> float:
    return _UNKNOWN if value is None else _share(value)


def _share(value: float) -> float:
    return 0.0 if math.isnan(value) else min(max(value, 0.0), 1.0)
