"""Reads at most eight named features off a prediction, from which P(nothing of it needs a correction) is estimated."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from models.types import Annotation, Mask, Polygon, Task
from pipelines.calibration.chances import chances, leaves, log, logit, softmin

MISSING = "missing_"


def features(task: Task, signals: Mapping[str, float], annotations: Sequence[Annotation]) -> dict[str, float]:
    """The features of a prediction, eight for each task (seven for segmentation).

    Each is there under its own name, or, where nothing says what it is, 1.0 under ``missing_<name>``: a prediction
    without labels has no lowest score, and an adapter need not emit every signal. Probabilities enter as logits or
    logarithms, counts as log(1 + n); a signal that is no number counts as missing.

    detection: softmin_p, min_p, all_p (log Π p), no_miss, entropy_max, entropy_mean, margin_max, count.
    segmentation: stability_min, soft_iou_min, predicted_iou_min (clipped to [0, 1]), area_min (log of square pixels),
        min_p, no_miss, count.
    ner: sentence (log), mnlp, min_p, all_p (log Π p), no_miss (log), entropy_max, entropy_mean, count.
    speech: mean_word, min_word, mean_logprob, no_speech, compression_ratio, is_resampled (1 when temperature > 0),
        words_per_s, expected_wer.

    p is an annotation's confidence where it has one, its score otherwise: give the same at the fit and afterwards.

    Args:
        signals: of the prediction, as models/signals.py names them; any may be missing.
    """
    known = {name: value for name, value in signals.items() if math.isfinite(value)}
    p = [chance for chance in chances(task, annotations) if math.isfinite(chance)]
    match task:
        case "detection":
            found = _detection(known, p)
        case "segmentation":
            found = _segmentation(known, p, annotations)
        case "ner":
            found = _ner(known, p)
        case "speech":
            found = _speech(known, p, annotations)
    return dict(
        (name, value) if value is not None and math.isfinite(value) else (MISSING + name, 1.0) for name, value in found
    )


Found = list[tuple[str, float | None]]


def _detection(known: Mapping[str, float], p: Sequence[float]) -> Found:
    return [
        ("softmin_p", logit(softmin(p)) if p else None),
        ("min_p", logit(min(p)) if p else None),
        ("all_p", sum(map(log, p)) if p else None),
        ("no_miss", _logit_of(known, "no_miss")),
        ("entropy_max", known.get("entropy_max")),
        ("entropy_mean", known.get("entropy_mean")),
        ("margin_max", known.get("margin_max")),
        ("count", math.log1p(len(p))),
    ]


def _segmentation(known: Mapping[str, float], p: Sequence[float], annotations: Sequence[Annotation]) -> Found:
    iou = predicted_iou(known, annotations)
    return [
        ("stability_min", _logit_of(known, "stability_min")),
        ("soft_iou_min", _logit_of(known, "soft_iou_min")),
        ("predicted_iou_min", None if iou is None else logit(iou)),
        ("area_min", _log_smallest_area(annotations)),
        ("min_p", logit(min(p)) if p else None),
        ("no_miss", _logit_of(known, "no_miss")),
        ("count", math.log1p(len(p))),
    ]


def _ner(known: Mapping[str, float], p: Sequence[float]) -> Found:
    return [
        ("sentence", _log_of(known, "sentence")),
        ("mnlp", known.get("mnlp")),
        ("min_p", logit(min(p)) if p else None),
        ("all_p", sum(map(log, p)) if p else None),
        ("no_miss", _log_of(known, "no_miss")),
        ("entropy_max", known.get("entropy_max")),
        ("entropy_mean", known.get("entropy_mean")),
        ("count", math.log1p(len(p))),
    ]


def _speech(known: Mapping[str, float], p: Sequence[float], annotations: Sequence[Annotation]) -> Found:
    temperature, wer = known.get("temperature"), known.get("expected_wer")
    return [
        ("mean_word", logit(sum(p) / len(p)) if p else None),
        ("min_word", logit(min(p)) if p else None),
        ("mean_logprob", known.get("mean_logprob")),
        ("no_speech", known.get("no_speech")),
        ("compression_ratio", known.get("compression_ratio")),
        ("is_resampled", None if temperature is None else float(temperature > 0.0)),
        ("words_per_s", _words_per_s(known, annotations)),
        ("expected_wer", None if wer is None else min(max(wer, 0.0), 1.0)),
    ]


def predicted_iou(signals: Mapping[str, float], annotations: Sequence[Annotation]) -> float | None:
    """The lowest IoU that the segmenter's own head predicts, in [0, 1]; a mask's score is this number, too."""
    ious = [a.score for a in annotations if isinstance(a.geometry, Mask | Polygon)]
    lowest = signals.get("predicted_iou_min", min(ious, default=None))
    return None if lowest is None else min(max(lowest, 0.0), 1.0)


def _logit_of(signals: Mapping[str, float], name: str) -> float | None:
    return logit(signals[name]) if name in signals else None


def _log_of(signals: Mapping[str, float], name: str) -> float | None:
    return log(signals[name]) if name in signals else None


def _log_smallest_area(annotations: Sequence[Annotation]) -> float | None:
    areas = [_area(a.geometry) for a in annotations if isinstance(a.geometry, Mask | Polygon)]
    return math.log1p(min(areas)) if areas else None


def _area(outline: Mask | Polygon) -> float:
    """Square pixels."""
    if isinstance(outline, Polygon):
        points = outline.points_xy
        pairs = zip(points, (*points[1:], points[0]), strict=True)
        return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairs)) / 2.0
    from pycocotools import mask as coco_mask

    return float(coco_mask.area({"size": list(outline.size_hw), "counts": outline.counts.encode()}))


def _words_per_s(signals: Mapping[str, float], annotations: Sequence[Annotation]) -> float | None:
    """By the speech that was detected, or by the recording's length; None where neither is known or is above 0."""
    seconds = signals.get("speech_s") or signals.get("duration_s")
    spoken = sum(len(a.text.split()) for a in leaves(annotations) if a.text)
    return spoken / seconds if seconds and seconds > 0.0 else None
