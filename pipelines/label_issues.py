"""Scores how well given boxes agree with a detector's: what is likely overlooked, misplaced or of the wrong class.

ObjectLab (Tkachenko et al. 2023), as cleanlab 2.9 computes it in object_detection/rank.py. All scores lie in [0, 1],
and low is bad. A detector that is rarely sure finds few overlooked objects and swapped classes: only its boxes of 0.95
and more count for these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.geometry import iou
from models.signals import softmin
from models.types import Annotation, Box

_SURE, _LIKELY = 0.95, 0.5  # scores from which a prediction counts for overlooked and swapped, and for badly located
_IOU_SHARE, _PER_PIXEL = 0.9, 0.1  # of the similarity; how fast its other part falls with the distance of the centres
_SAME_PLACE_IOU = 0.95  # from which two given boxes of different classes contradict each other
_TINY = 1e-100


@dataclass(frozen=True, slots=True, kw_only=True)
class Boxes:
    """The boxes of one image, as they are given or as a detector has them.

    Attributes:
        boxes_xyxy: (n, 4) float, pixels: the distance of two centres counts in pixels.
        classes: (n,) names or numbers, of one kind in all images.
        scores: (n,) in [0, 1]; of given boxes they count for nothing.
    """

    boxes_xyxy: np.ndarray
    classes: np.ndarray
    scores: np.ndarray

    @classmethod
    def of(cls, annotations: Sequence[Annotation]) -> Boxes:
        """The annotations that are boxes, in their order."""
        found = [(one.geometry.xyxy, one.label, one.score) for one in annotations if isinstance(one.geometry, Box)]
        return cls(
            boxes_xyxy=np.array([xyxy for xyxy, _, _ in found], dtype=np.float64).reshape(-1, 4),
            classes=np.array([label for _, label, _ in found], dtype=np.str_),
            scores=np.array([score for _, _, score in found], dtype=np.float64),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelQuality:
    """How well the given boxes of one image agree with a detector's; in [0, 1], low is bad.

    Attributes:
        overlooked: (m,) of each predicted box, that something is given for it; NaN where the detector is not sure or a
            given box touches it.
        badly_located: (n,) of each given box, that it lies right.
        swapped: (n,) of each given box, that its class is right.
        image: the geometric mean of the three, each pooled over the boxes by a soft minimum.
    """

    overlooked: np.ndarray
    badly_located: np.ndarray
    swapped: np.ndarray
    image: float


def label_quality(given: Sequence[Boxes], predicted: Sequence[Boxes]) -> list[LabelQuality]:
    """The scores of every image of a data set.

    Args:
        given: the labels of each image.
        predicted: a detector's boxes on the same images; its training on these very labels hides what is wrong.

    Returns:
        One entry for each image. They depend a little on the other images: the lowest similarity of any two boxes in
        the data set stands for "nothing like it".
    """
    similarities = [_similarity(labels, found) for labels, found in zip(given, predicted, strict=True)]
    least = min((float(own[own > 0.0].min(initial=1.0)) for own in similarities), default=1.0)
    rows = zip(given, predicted, similarities, strict=True)
    return [_quality(labels, found, similarity, least=least) for labels, found, similarity in rows]


def _similarity(given: Boxes, predicted: Boxes) -> np.ndarray:
    """α·IoU + (1 − α)·exp(−0.1·distance of the centres in pixels) of every pair: (n, m)."""
    centres = [(own.boxes_xyxy[:, :2] + own.boxes_xyxy[:, 2:]) / 2.0 for own in (given, predicted)]
    apart = np.linalg.norm(centres[0][:, None] - centres[1][None, :], axis=-1)
    overlap = iou(given.boxes_xyxy, predicted.boxes_xyxy)
    return _IOU_SHARE * overlap + (1.0 - _IOU_SHARE) * np.exp(-_PER_PIXEL * apart)


def _quality(given: Boxes, predicted: Boxes, similarity: np.ndarray, *, least: float) -> LabelQuality:
    overlap = iou(given.boxes_xyxy, predicted.boxes_xyxy)
    is_same = given.classes[:, None] == predicted.classes[None, :]
    scores = (
        _overlooked(predicted, similarity, is_same=is_same, overlap=overlap, least=least),
        _best(similarity, among=is_same & (predicted.scores > _LIKELY) & (overlap > 0.0), otherwise=1.0),
        _swapped(given, similarity, is_other=~is_same & (predicted.scores > _SURE), least=least),
    )
    pooled = [softmin(own[~np.isnan(own)]) if (~np.isnan(own)).any() else 1.0 for own in scores]
    image = float(np.exp(np.mean(np.log(np.array(pooled) + _TINY))))
    return LabelQuality(overlooked=scores[0], badly_located=scores[1], swapped=scores[2], image=image)


def _overlooked(
    predicted: Boxes, similarity: np.ndarray, *, is_same: np.ndarray, overlap: np.ndarray, least: float
) -> np.ndarray:
    """(m,) similarity to the nearest given box of the class, or nearly none where there is no such box."""
    nearest = np.where(is_same, similarity, -np.inf).max(axis=0, initial=-np.inf)
    found = np.where(is_same.any(axis=0), nearest, least * (1.0 - predicted.scores))
    is_judged = (predicted.scores >= _SURE) & ~(overlap > 0.0).any(axis=0)
    return np.where(is_judged, found, np.nan)


def _swapped(given: Boxes, similarity: np.ndarray, *, is_other: np.ndarray, least: float) -> np.ndarray:
    """(n,) 1 − similarity to the nearest sure prediction of another class."""
    found = np.maximum(1.0 - _best(similarity, among=is_other, otherwise=0.0), least)
    found = np.where(is_other.any(axis=1), found, 1.0)
    is_apart = given.classes[:, None] != given.classes[None, :]
    is_contradicted = is_apart & (iou(given.boxes_xyxy, given.boxes_xyxy) >= _SAME_PLACE_IOU)
    return np.where(is_contradicted.any(axis=1), least, found)


def _best(similarity: np.ndarray, *, among: np.ndarray, otherwise: float) -> np.ndarray:
    """(n,) the highest similarity among some predictions."""
    best = np.where(among, similarity, -np.inf).max(axis=1, initial=-np.inf)
    return np.where(among.any(axis=1), best, otherwise)
