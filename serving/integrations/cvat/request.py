"""Does what one annotation request asks for: a task, a frame, or the object that a person clicked on.

Reference: cvat_cli 2.80, _internal/agent_driver_detection.py and agent_driver_interaction.py.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from models.errors import ItemError
from models.types import Task
from serving.integrations.cvat.annotate import Job, PreLabels, Report, labelled
from serving.integrations.cvat.crop import cropped
from serving.integrations.cvat.errors import BadAnnotationRequestError
from serving.integrations.cvat.frame import Frame, TaskFrames
from serving.integrations.cvat.interactor import CONFIDENCE, Outlines, clicks_of, confidence
from serving.integrations.cvat.label import Label
from serving.integrations.cvat.label_mapping import mapped
from serving.integrations.cvat.payload import Payload
from serving.integrations.cvat.server import CvatServer
from serving.integrations.cvat.shape import Wanted

logger = logging.getLogger(__name__)

Params = Mapping[str, Any]
CheckIn = Callable[[float], object]

_NAMED = 20  # failed frames that the log names


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """What an agent needs for its requests: the server, the service, and what the function is.

    ``labels`` are the function's as CVAT knows them.
    """

    server: CvatServer
    pre_labels: PreLabels
    outlines: Outlines
    task: Task
    labels: Sequence[Label] = ()

    def result(self, params: Params, check_in: CheckIn) -> dict[str, Any]:
        """What is to be handed in for a request.

        Args:
            check_in: is told after each frame which part of the work is done.

        Raises:
            BadAnnotationRequestError: the request cannot be met.
            PrelabelError: CVAT, the service, or every single frame has failed.
        """
        match params.get("type"):
            case "annotate_task":
                return self._task(params, check_in)
            case "annotate_frame":
                return self._frame(params)
            case "interact":
                return self._interaction(params)
            case kind:
                raise BadAnnotationRequestError("unknown_kind", f"unsupported type: {str(kind)[:80]!r}")

    def _task(self, params: Params, check_in: CheckIn) -> dict[str, Any]:
        frames = TaskFrames(self.server, _number(params, "task"))
        check_in(0.0)  # reading the task's data may have taken a while
        payload, report = Payload(), Report()
        cut = map(partial(cropped, roi=params.get("roi")), frames)
        for frame, shapes in labelled(cut, self.pre_labels, self._job(params, frames), report):
            payload.add(frame.index, shapes)
            check_in(report.frames / len(frames))
        _refuse_total_failure(report)
        _log(report)
        return {"annotations": payload.as_json()}

    def _frame(self, params: Params) -> dict[str, Any]:
        frames = TaskFrames(self.server, _number(params, "task"))
        payload, report = Payload(), Report()
        one = _Single(self.pre_labels)
        for frame, shapes in labelled([_one(frames, params)], one, self._job(params, frames), report):
            payload.add(frame.index, shapes)
        _refuse_total_failure(report)
        return {"annotations": payload.as_json()}

    def _interaction(self, params: Params) -> dict[str, Any]:
        try:
            clicks = clicks_of(params["pos_points"], params["neg_points"], params.get("obj_bbox"))
            clicks.prompts()
        except (KeyError, TypeError, ValueError) as err:
            raise BadAnnotationRequestError("bad_annotation_request", "the points or the box cannot be read") from err
        except ItemError as err:
            raise BadAnnotationRequestError("bad_annotation_request", err.message) from err
        frame = _one(TaskFrames(self.server, _number(params, "task")), params)
        if frame.problem is not None:
            raise ItemError("unreadable_frame", frame.problem)
        found = self.outlines.outline(frame.data, clicks)
        if found is None:
            return {"shapes": []}
        attributes = [{"spec_id": CONFIDENCE, "value": confidence(found)}]
        return {"shapes": [{"type": "mask", "points": list(found.points), "attributes": attributes}]}

    def _job(self, params: Params, frames: TaskFrames) -> Job:
        threshold = params.get("threshold")
        wanted = Wanted(
            conf_threshold=None if threshold is None else float(threshold),
            conv_mask_to_poly=bool(params.get("conv_mask_to_poly")),
        )
        labels = mapped(params.get("mapping") or {}, function=self.labels, task=frames.labels)
        return Job(name=f"cvat-{params['task']}", task=self.task, labels=labels, wanted=wanted)


@dataclass(frozen=True, slots=True)
class _Single:
    """Labels for somebody who waits."""

    pre_labels: PreLabels

    def stream(self, requests: Iterable[Any]) -> Iterator[Any]:
        return iter(self.pre_labels.pre_label(list(requests)))


def _one(frames: TaskFrames, params: Params) -> Frame:
    try:
        frame = frames.one(_number(params, "frame"))
    except KeyError as err:
        message = f"frame with index {params['frame']} does not exist in the task"
        raise BadAnnotationRequestError("bad_annotation_request", message) from err
    return cropped(frame, params.get("roi"))


def _number(params: Params, name: str) -> int:
    value = params.get(name)
    if not isinstance(value, int):
        raise BadAnnotationRequestError("bad_annotation_request", f"'{name}' must be a whole number")
    return value


def _refuse_total_failure(report: Report) -> None:
    """Nothing but failures must not look like frames without objects."""
    if report.failed and len(report.failed) == report.frames:
        codes = ", ".join(sorted({frame.code for frame in report.failed}))
        raise ItemError("no_frame_labelled", f"none of {report.frames} frames could be labelled: {codes}")


def _log(report: Report) -> None:
    for frame in report.failed[:_NAMED]:
        logger.warning("frame %d (%s) got no shapes: %s: %s", frame.index, frame.name, frame.code, frame.message)
    if (more := len(report.failed) - _NAMED) > 0:
        logger.warning("and %d more frames got no shapes", more)
    _log_left_out(report.left_out)


def _log_left_out(left_out: Counter[str]) -> None:
    for what, number in left_out.most_common(_NAMED):
        logger.info("left out: %d %s", number, what)
