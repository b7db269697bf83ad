"""Measures the demo's detector and segmenter on drawn scenes that they were not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from models import geometry
from models.demo.scenes import HELD_OUT_SEEDS, LABELS, VALIDATION_SEEDS, Part, Scene, scene
from models.types import Annotation, Box, BoxPrompt, ImagePayload, Mask, Prediction, Prompts

if TYPE_CHECKING:
    from models.adapter import Adapter
    from models.adapters.transformers_detection import TransformersDetector

_BATCH = 16
_LOWEST_SCORE = 0.01
_RIGHT_IOU = 0.5


def evaluate_detection(adapter: TransformersDetector, *, part: str, n: int) -> dict[str, float]:
    """How well a detector finds the shapes of n held-out scenes.

    Returns:
        map50, map: COCO's average precision over the known shapes at IoU 0.5 and 0.5…0.95;
        precision, recall: of the boxes at or above the card's min_score, over all objects, unknown shapes included
        (these can only be missed); a box is right when its label is and it overlaps a free object by IoU ≥ 0.5;
        score_right, score_wrong: mean score of the right and of the wrong ones of these boxes (0 without any).
    """
    scenes = _scenes(part, seeds=HELD_OUT_SEEDS[:n])
    predictions = _predictions(adapter.with_min_score(_LOWEST_SCORE), [_payload(drawn) for drawn in scenes])
    scores, is_right = _judged(scenes, predictions)
    is_emitted = scores >= adapter.card.min_score
    right, wrong = scores[is_emitted & is_right], scores[is_emitted & ~is_right]
    objects = sum(len(drawn.labels) for drawn in scenes)
    return _average_precision(scenes, predictions) | {
        "precision": len(right) / max(len(right) + len(wrong), 1),
        "recall": len(right) / max(objects, 1),
        "score_right": float(right.mean()) if len(right) else 0.0,
        "score_wrong": float(wrong.mean()) if len(wrong) else 0.0,
    }


def best_min_score(adapter: TransformersDetector, *, n: int) -> float:
    """The min_score of the highest F1 on n easy and n hard validation scenes, which no other figure is measured on."""
    scenes = [drawn for part in ("easy", "hard") for drawn in _scenes(part, seeds=VALIDATION_SEEDS[:n])]
    predictions = _predictions(adapter.with_min_score(_LOWEST_SCORE), [_payload(drawn) for drawn in scenes])
    scores, is_right = _judged(scenes, predictions)
    objects = sum(len(drawn.labels) for drawn in scenes)
    thresholds = np.arange(0.1, 0.9, 0.01)
    f1 = [2.0 * (is_right & (scores >= t)).sum() / (np.count_nonzero(scores >= t) + objects) for t in thresholds]
    return round(float(thresholds[int(np.argmax(f1))]), 2)


def evaluate_segmentation(adapter: Adapter[Any, Any], *, part: str, n: int) -> dict[str, float]:
    """How well a segmenter outlines the shapes of n held-out scenes when it is given their true boxes.

    Returns:
        iou: mean IoU of its masks with the true ones, 0 where it gives none;
        iou_p10: the IoU that nine in ten masks reach;
        score_error: mean distance of the score, which is the IoU that it predicts, from the true IoU.
    """
    scenes = [drawn for drawn in _scenes(part, seeds=HELD_OUT_SEEDS[:n]) if drawn.labels]
    predictions = _predictions(adapter, [_payload(drawn, is_prompted=True) for drawn in scenes])
    rows = [row for drawn, prediction in zip(scenes, predictions, strict=True) for row in _mask_ious(drawn, prediction)]
    ious, scores = np.array(rows).reshape(-1, 2).T
    return {
        "iou": float(ious.mean()),
        "iou_p10": float(np.quantile(ious, 0.1)),
        "score_error": float(np.abs(ious - scores).mean()),
    }


def _scenes(part: str, *, seeds: range) -> list[Scene]:
    known: dict[str, Part] = {name: name for name in get_args(Part)}
    return [scene(seed, known[part]) for seed in seeds]


def _payload(drawn: Scene, *, is_prompted: bool = False) -> ImagePayload:
    boxes = enumerate(zip(drawn.boxes_xyxy.tolist(), drawn.labels, strict=True)) if is_prompted else ()
    prompts = tuple(BoxPrompt(xyxy=tuple(box), label=label, parent_id=str(index)) for index, (box, label) in boxes)
    return ImagePayload(image_rgb=drawn.image_rgb, prompts=Prompts(boxes=prompts))


def _predictions(adapter: Adapter[Any, Any], payloads: Sequence[ImagePayload]) -> list[Prediction]:
    predictions: list[Prediction] = []
    for first in range(0, len(payloads), _BATCH):
        batch = payloads[first : first + _BATCH]
        predictions += adapter.read(adapter.forward(adapter.prepare(batch)), batch)
    return predictions


def _boxes(annotations: Sequence[Annotation]) -> np.ndarray:
    corners = [found.geometry.xyxy for found in annotations if isinstance(found.geometry, Box)]
    return np.array(corners, dtype=np.float64).reshape(-1, 4)


def _judged(scenes: Sequence[Scene], predictions: Sequence[Prediction]) -> tuple[np.ndarray, np.ndarray]:
    """The scores of all boxes and which of them are right: (n,) float and (n,) bool."""
    is_right = [flag for pair in zip(scenes, predictions, strict=True) for flag in _right_boxes(*pair)]
    scores = [found.score for prediction in predictions for found in prediction.annotations]
    return np.array(scores, dtype=np.float64), np.array(is_right, dtype=bool)


def _right_boxes(drawn: Scene, prediction: Prediction) -> list[bool]:
    """Best box first, each takes the free object of its label that it overlaps most."""
    overlaps = geometry.iou(_boxes(prediction.annotations), drawn.boxes_xyxy)
    is_free = np.ones(len(drawn.labels), dtype=bool)
    flags: list[bool] = []
    for found, row in zip(prediction.annotations, overlaps, strict=True):
        eligible = np.where(is_free & (np.array(drawn.labels) == found.label), row, 0.0)
        is_hit = bool(eligible.max(initial=0.0) >= _RIGHT_IOU)
        if is_hit:
            is_free[eligible.argmax()] = False
        flags.append(is_hit)
    return flags


def _average_precision(scenes: Sequence[Scene], predictions: Sequence[Prediction]) -> dict[str, float]:
    from faster_coco_eval import COCO, COCOeval_faster

    truth = COCO(_coco_truth(scenes))
    found = [row for index, prediction in enumerate(predictions) for row in _coco_rows(index, prediction)]
    if not found:
        return {"map50": 0.0, "map": 0.0}
    evaluation = COCOeval_faster(truth, truth.loadRes(found), "bbox")
    evaluation.run()
    return {"map50": float(evaluation.stats[1]), "map": float(evaluation.stats[0])}


def _coco_truth(scenes: Sequence[Scene]) -> dict[str, Any]:
    objects = [
        {"image_id": index, "category_id": LABELS.index(label), "bbox": _xywh(box), "area": float(mask.sum())}
        for index, drawn in enumerate(scenes)
        for label, box, mask in zip(drawn.labels, drawn.boxes_xyxy.tolist(), drawn.masks, strict=True)
        if label in LABELS
    ]
    return {
        "images": [
            {"id": index, "height": drawn.image_rgb.shape[0], "width": drawn.image_rgb.shape[1]}
            for index, drawn in enumerate(scenes)
        ],
        "categories": [{"id": index, "name": label} for index, label in enumerate(LABELS)],
        "annotations": [entry | {"id": number, "iscrowd": 0} for number, entry in enumerate(objects, start=1)],
    }


def _coco_rows(index: int, prediction: Prediction) -> list[dict[str, Any]]:
    return [
        {"image_id": index, "category_id": LABELS.index(found.label), "bbox": _xywh(box), "score": found.score}
        for found, box in zip(prediction.annotations, _boxes(prediction.annotations).tolist(), strict=True)
    ]


def _xywh(box_xyxy: Sequence[float]) -> list[float]:
    x1, y1, x2, y2 = box_xyxy
    return [x1, y1, x2 - x1, y2 - y1]


def _mask_ious(drawn: Scene, prediction: Prediction) -> list[tuple[float, float]]:
    """(true IoU, score) of each object of the scene."""
    answers = {found.parent_id: found for found in prediction.annotations}
    return [_mask_iou(bitmap, answers.get(str(index))) for index, bitmap in enumerate(drawn.masks)]


def _mask_iou(bitmap: np.ndarray, found: Annotation | None) -> tuple[float, float]:
    if found is None or not isinstance(found.geometry, Mask):
        return 0.0, 0.0
    return geometry.mask_iou(geometry.decode_mask(found.geometry), bitmap), found.score
