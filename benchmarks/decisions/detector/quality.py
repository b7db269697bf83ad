"""Measures how well scores say what is right, before a calibration and after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.decisions.detector.recalibration import Recalibration
from benchmarks.decisions.detector.scored import Scored
from pipelines.calibration.quality import auroc, d_ece, ece, la_ece
from pipelines.calibration.report import JudgedLabels

MEASURES = ("item ECE", "item AUROC", "box D-ECE", "box LaECE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Each of MEASURES before and after; errors are better where lower, the AUROC where higher."""

    before: Mapping[str, float]
    after: Mapping[str, float]


def quality(found: Recalibration, scored: Scored) -> Quality:
    """Of the fresh scenes and their boxes: the detector's own scores, and what the calibration makes of them."""
    is_acceptable, boxes = scored.losses[found.fresh] == 0.0, scored.boxes(found.fresh)
    labels = found.calibration.labels
    confidences = boxes.scores if labels is None else labels.apply(boxes.labels, boxes.scores)
    return Quality(
        before=_measured(scored.raw[found.fresh], is_acceptable, boxes.scores, boxes),
        after=_measured(found.confidences, is_acceptable, confidences, boxes),
    )


def mean(qualities: Sequence[Quality]) -> Quality:
    return Quality(
        before={name: float(np.mean([one.before[name] for one in qualities])) for name in MEASURES},
        after={name: float(np.mean([one.after[name] for one in qualities])) for name in MEASURES},
    )


def _measured(
    items: np.ndarray, is_acceptable: np.ndarray, scores: np.ndarray, boxes: JudgedLabels
) -> dict[str, float]:
    ious = np.zeros(len(scores)) if boxes.ious is None else boxes.ious
    return {
        "item ECE": ece(items, is_acceptable),
        "item AUROC": auroc(items, is_acceptable),
        "box D-ECE": d_ece(scores, boxes.is_right),
        "box LaECE": la_ece(scores, ious, labels=boxes.labels),
    }
