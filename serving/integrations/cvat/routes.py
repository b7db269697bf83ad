"""Serves what CVAT asks of a nuclio function: the objects in an image, or the one that a person clicked on.

Reference: cvat-ai/cvat, cvat/apps/lambda_manager/views.py (LambdaFunction.invoke, LambdaJob) and the functions in its
serverless folder; cvat-core/src/lambda-manager.ts (InteractorResults).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
import orjson
import pybase64
from fastapi import APIRouter, Path, Request, Response
from pydantic import ConfigDict, Field

from models.errors import ItemError, OverloadedError
from models.geometry import decode_mask
from models.types import Annotation, Item, Mask, Task
from pipelines import prelabel
from pipelines.formats.exported import certainty
from pipelines.formats.results import Result, result
from pipelines.types import Failed, Outcome
from serving import errors
from serving.body import Body, StrictRoute
from serving.integrations.cvat.attribute import Attribute
from serving.integrations.cvat.clicks import Clicks, Point, read_box
from serving.integrations.cvat.label import Label
from serving.integrations.cvat.mask_code import decoded, encoded
from serving.integrations.cvat.polygon import polygon_of
from serving.integrations.cvat.shape import Shape, Wanted, shapes
from serving.service import Service
from serving.service_of import ServiceOf

_MOST_POINTS = 1_000
_STATUS = {"too_large": 413, "timeout": 504, "overloaded": 429}
_FAILED_INSIDE = frozenset({"internal", "model_failed", "out_of_memory", "device_lost", "worker_lost"})

ImageTask = Literal["detection", "segmentation"]

routes = APIRouter(route_class=StrictRoute, tags=["cvat"])


class InvokeBody(Body):
    """What CVAT sends: an image in base64; for a detector a ``threshold``, for an interactor points and maybe a box.

    ``obj_bbox`` is two corners or four numbers. ``with_rows`` false leaves the interactor's mask out as rows, which is
    what CVAT's page reads; ``shapes`` has it as run lengths. What else CVAT's versions send is not looked at.
    """

    image: str
    threshold: float | None = Field(default=None, ge=0, le=1)
    pos_points: tuple[Point, ...] | None = Field(default=None, max_length=_MOST_POINTS)
    neg_points: tuple[Point, ...] | None = Field(default=None, max_length=_MOST_POINTS)
    obj_bbox: tuple[float, ...] | tuple[Point, ...] | None = None
    with_rows: bool = True

    model_config = ConfigDict(extra="ignore", frozen=True)

    @property
    def is_interactive(self) -> bool:
        return self.pos_points is not None or self.neg_points is not None or bool(self.obj_bbox)


@routes.post("", responses={422: {"description": "The image or the points cannot be used."}})
@routes.post("/", include_in_schema=False)
async def invoke(
    task: Annotated[ImageTask, Path()], body: InvokeBody, service: ServiceOf, request: Request
) -> Response:
    """What a nuclio function answers to CVAT: a list of objects; or, where points are given, the object's mask.

    An object's ``confidence`` is calibrated where a calibration is in force. A mask is given as bits of its box, with a
    polygon for whoever wants that. Clicks are answered and not kept; an image of a detector is stored like any other,
    and where a person is to label it from nothing, the list is empty.
    """
    deadline_s = service.settings.server.default_deadline_s
    if body.is_interactive:
        return await _clicked(task, body, service, deadline_s)
    item = Item(id="cvat/frame", media="image", data=_image(body.image))
    asked = prelabel.Request(item=item, task=task)
    with request.app.state.metrics.measured():
        outcomes = await _kept(asked, service, deadline_s)
    request.app.state.metrics.count(outcomes)
    if isinstance(outcome := outcomes[0], Failed):
        return _failed(outcome)
    return _json(_objects(result(outcome), Wanted(conf_threshold=body.threshold)))


async def _kept(asked: prelabel.Request, service: Service, deadline_s: float) -> list[Outcome]:
    try:
        return await prelabel.pre_label_all([asked], service.flow, deadline_s=deadline_s)
    except OverloadedError as err:
        err.room_in_s = service.room_in_s([asked.task])
        raise


async def _clicked(task: Task, body: InvokeBody, service: Service, deadline_s: float) -> Response:
    clicks = Clicks(positive=body.pos_points or (), negative=body.neg_points or (), box=read_box(body.obj_bbox))
    item = Item(id="cvat/click", media="image", data=_image(body.image), prompts=clicks.prompts())
    if task != "segmentation":
        raise ItemError("invalid_prompt", "points and boxes are understood by segmentation; call /cvat/segmentation")
    outcome = await prelabel.pre_label(prelabel.Request(item=item, task=task), service.flow, deadline_s=deadline_s)
    if isinstance(outcome, Failed):
        return _failed(outcome)
    return _json(_mask(result(outcome), clicks, with_rows=body.with_rows))


def _image(image: str) -> bytes:
    try:
        return pybase64.b64decode(image, validate=True)
    except ValueError as err:
        message = f"image is not base64: {err}; encode the file's bytes as standard base64"
        raise ItemError("invalid_item", message) from err


def _objects(found: Result, wanted: Wanted) -> list[dict[str, Any]]:
    """The objects as a nuclio detector answers them; the certainty is an attribute too, as CVAT keeps no confidence."""
    names = sorted({"score", "score_kind"}.union(*(annotation.attributes for annotation in found.annotations)))
    given = tuple(Attribute(id=place, name=name) for place, name in enumerate(names))
    labels = {one.label: Label(id=0, name=one.label, attributes=given) for one in found.annotations}
    return [_object(shape, names, found) for shape in shapes(found, labels, wanted=wanted)]


def _object(shape: Shape, names: Sequence[str], found: Result) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "confidence": _text(shape.score),
        "label": shape.label.name,
        "points": shape.points,
        "type": shape.type,
        "attributes": [{"name": names[id_], "value": value} for id_, value in shape.attributes.items()],
    }
    if shape.type != "mask" or found.size_hw is None:
        return answer
    bitmap = decoded(shape.points, size_hw=found.size_hw)
    left, top, right, bottom = map(int, shape.points[-4:])
    bits = bitmap[top : bottom + 1, left : right + 1].ravel().astype(np.uint8)
    ring = polygon_of(bitmap)
    # CVAT counts the runs itself (LambdaJob), and takes the polygon where it is asked to convert masks.
    return answer | {"mask": [*bits.tolist(), left, top, right, bottom], "points": [] if ring is None else ring.ravel()}


def _mask(found: Result, clicks: Clicks, *, with_rows: bool) -> dict[str, Any]:
    """The chosen mask as a nuclio interactor answers it; all zeros where nothing is found."""
    chosen = clicks.chosen(found.annotations)
    bitmap = _bitmap(chosen, found)
    ring = polygon_of(bitmap)
    answer = {"points": [] if ring is None else ring, "shapes": []}
    if chosen is not None:
        certain = _text(certainty(chosen)[0])
        answer["shapes"] = [{"type": "mask", "label": chosen.label, "points": encoded(bitmap), "confidence": certain}]
    # COCO's run lengths are read column by column, and orjson writes arrays that lie row by row.
    return answer | ({"mask": bitmap.astype(np.uint8, order="C")} if with_rows else {})


def _bitmap(chosen: Annotation | None, found: Result) -> np.ndarray:
    if chosen is not None and isinstance(chosen.geometry, Mask):
        return decode_mask(chosen.geometry)
    return np.zeros(found.size_hw or (1, 1), dtype=bool)


def _text(score: float) -> str:
    return str(round(score, 4))


def _failed(failed: Failed) -> Response:
    code = failed.failure.code
    status = 500 if code in _FAILED_INSIDE else _STATUS.get(code, 422)
    return errors.answer(status, code, failed.failure.message)


def _json(content: object) -> Response:
    return Response(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")
