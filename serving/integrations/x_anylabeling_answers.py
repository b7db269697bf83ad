"""Words answers as X-AnyLabeling reads them."""

from __future__ import annotations

from typing import Any

from models.geometry import decode_mask
from models.rings import joined, trace
from models.types import Annotation, Box, Mask, Polygon
from pipelines.formats.exported import certainty, objects
from pipelines.formats.results import Result
from pipelines.tasks import TaskCard

Json = dict[str, Any]

_CODES = {"unknown_model": "MODEL_NOT_FOUND"}
_CODES |= dict.fromkeys(("unreadable_image", "too_large", "empty", "invalid_item"), "INVALID_IMAGE")
_WIDGETS = [{"name": name, "value": None} for name in ("button_run", "input_conf")]
_WIDGETS += [{"name": "edit_conf", "value": 0.25}, {"name": "toggle_preserve_existing_annotations", "value": False}]


def info_of(card: TaskCard) -> Json:
    """A task as one of its models; the widgets are what is shown beside its name."""
    return {"display_name": f"prelabel {card.task} ({', '.join(card.models)})", "widgets": _WIDGETS, "params": {}}


def failed(code: str, message: str) -> Json:
    """An error in their form and by their codes; ours is in its details.

    Their client reads ``data`` whatever ``success`` says, and where it finds no shapes, or any other status, it puts
    nothing in place of what a person has drawn; ``replace`` keeps it from that.
    """
    error = {"code": _CODES.get(code, "INFERENCE_ERROR"), "message": message, "details": {"code": code}}
    return {"success": False, "error": error, "data": {"shapes": [], "description": "", "replace": False}}


def shapes(found: Result, *, threshold: float) -> list[Json]:
    """One shape for each object, as app/schemas/shape.py of CVHub520/X-AnyLabeling-Server describes it.

    ``score`` is the calibrated confidence, or the model's score where there is none; an object below the threshold is
    left out, and so is a label of the whole image. A mask is one polygon along the edges of its pixels, its parts and
    holes joined by lines of no width.
    """
    scored = ((annotation, certainty(annotation)[0]) for annotation, _ in objects(found))
    drawn = (_shape(annotation, score) for annotation, score in scored if score >= threshold)
    return [shape for shape in drawn if shape is not None]


def _shape(annotation: Annotation, score: float) -> Json | None:
    if (place := _place(annotation)) is None:
        return None
    empty = {"attributes": {}, "description": None, "difficult": False, "direction": 0, "flags": None}
    named = {"label": annotation.label, "shape_type": place[0], "points": place[1], "score": score}
    return named | empty | {"group_id": None, "kie_linking": []}


def _place(annotation: Annotation) -> tuple[str, list[list[float]]] | None:
    match annotation.geometry:
        case Box(xyxy=(x1, y1, x2, y2)):
            return "rectangle", [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]
        case Polygon(points_xy=points) if len(points) > 2:
            return "polygon", [list(point) for point in points]
        case Mask() as mask:
            rings = trace(decode_mask(mask))
            return ("polygon", joined(rings).astype(float).tolist()) if rings else None
        case _:
            return None
