"""Is an auto-annotation function of CVAT: images in, shapes and tags of the service's models out.

Reference: cvat_sdk 2.80, auto_annotation/interface.py and driver.py. cvat_sdk is not needed to import this.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from models.errors import ConfigError
from models.types import Item, Task
from pipelines.formats.results import Result
from pipelines.prelabel import Request
from serving.client import Client
from serving.integrations.cvat.ahead import LookAhead
from serving.integrations.cvat.annotate import FailedFrame, Streams
from serving.integrations.cvat.attribute import Attribute
from serving.integrations.cvat.crop import png
from serving.integrations.cvat.image_task import PATIENT_ATTEMPTS, PATIENT_S, image_task
from serving.integrations.cvat.label import ANY, Label
from serving.integrations.cvat.shape import Shape, Wanted, shapes

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger(__name__)

_TYPES = (ANY, "rectangle", "polygon", "mask", "tag")


class Function:
    """A detection function of cvat_sdk.auto_annotation.

    A frame that the service cannot label gets no shapes and is in ``failed``; when the service itself does not answer,
    its error is raised.
    """

    def __init__(
        self,
        pre_labels: Streams,
        labels: Sequence[Label],
        *,
        task: Task,
        samples: Callable[[], Sequence[Any]] = lambda: (),
        batch: int = 32,
    ) -> None:
        """Prepares; calls nothing.

        Args:
            samples: gives the frames that will come, for looking ahead (cvat_sdk.datasets.TaskDataset.samples).
            batch: how many images one call of the service has at most.
        """
        self._pre_labels = pre_labels
        self._task: Task = task
        self._labels = {label.name: label for label in labels}
        self._wanted = Wanted()
        self._ahead = LookAhead(self._label, samples, most=batch)
        self.failed: list[FailedFrame] = []
        self.left_out: Counter[str] = Counter()

    @property
    def spec(self) -> Any:
        """The labels, as cvat_sdk describes them."""
        from cvat_sdk import auto_annotation as cvataa  # pyright: ignore[reportMissingImports]

        return cvataa.DetectionFunctionSpec(labels=[_label_spec(label) for label in self._labels.values()])

    def detect(self, context: Any, image: Image) -> list[Any]:
        """Shapes and tags of an image, in its pixels as they lie."""
        wanted = Wanted(
            conf_threshold=context.conf_threshold, conv_mask_to_poly=bool(getattr(context, "conv_mask_to_poly", False))
        )
        if wanted != self._wanted:  # never within a task; what lies ready was made for another caller
            self._ahead.forget()
            self._wanted = wanted
        return self._ahead.shapes(context.frame_name, image)

    def _label(self, images: Sequence[tuple[str, Image]]) -> list[list[object]]:
        requests = [Request(item=_item(name, image), task=self._task) for name, image in images]
        results = self._pre_labels.stream(requests)
        return [self._annotations(name, result) for (name, _), result in zip(images, results, strict=True)]

    def _annotations(self, name: str, result: Result) -> list[object]:
        if result.error is not None:
            failed = FailedFrame(index=-1, name=name, code=result.error.code, message=result.error.message)
            self.failed.append(failed)
            logger.warning("frame %s gets no shapes: %s: %s", name, failed.code, failed.message)
            return []
        found = shapes(result, self._labels, wanted=self._wanted, left_out=self.left_out)
        return [_annotation(shape) for shape in found]

    def report(self) -> None:
        """Log at the end what got no shapes."""
        if self.failed:
            names = ", ".join(f"{frame.name} ({frame.code})" for frame in self.failed)
            logger.warning("%d frames got no shapes: %s", len(self.failed), names)
        for what, number in self.left_out.most_common(20):
            logger.info("left out: %d %s", number, what)


class _Service:
    """A running service. Nobody tells a function when it is not needed any more, so each call has its own client."""

    def __init__(self, url: str, api_key: str | None) -> None:
        self._url, self._api_key = url, api_key

    def stream(self, requests: Iterable[Request]) -> Iterator[Result]:
        with Client(self._url, api_key=self._api_key, timeout_s=PATIENT_S, attempts=PATIENT_ATTEMPTS) as client:
            yield from client.stream(requests)


def create(
    url: str = "http://127.0.0.1:8000",
    *,
    task: str = "detection",
    labels: str = "",
    shape: str = ANY,
    attributes: str = "",
    api_key: str = "",
    cvat_url: str = "",
    cvat_task: int = 0,
    batch: int = 32,
) -> Function:
    """The function that ``cvat-cli`` runs; parameters are given by ``-p url=str:http://…`` and so on.

    Args:
        url: of the running service, with ``api_key`` where it wants one.
        task: detection or segmentation.
        labels: names of the models' labels, with commas between.
        shape: what labels become: any (as the model has it), rectangle, polygon, mask, tag.
        attributes: names of text attributes that the labels have, with commas between: ``score``, ``score_kind``, or
            the models' own.
        cvat_url: the address of the CVAT server as given to ``cvat-cli``, and
        cvat_task: the task's number there: with both, the function looks ahead in the frames that ``cvat-cli`` has
            fetched, and labels up to ``batch`` of them in one call.

    Raises:
        ConfigError: a parameter cannot be used.
    """
    import atexit

    if shape not in _TYPES:
        raise ConfigError(f"shape is '{shape}'; one of {', '.join(_TYPES)} is wanted")
    if not (own := _labels(labels, shape, attributes)):
        raise ConfigError("labels are missing; name those that the function shall give (-p labels=str:cat,dog)")
    samples = partial(_cached, cvat_url, cvat_task) if cvat_url and cvat_task else tuple
    function = Function(_Service(url, api_key or None), own, task=image_task(task), samples=samples, batch=batch)
    atexit.register(function.report)
    return function


def _cached(url: str, task_id: int) -> Sequence[Any]:
    """The task's frames as they lie in cvat_sdk's cache, where ``annotate_task`` puts all before the first call.

    Nothing is asked of the server, so no credentials are needed.
    """
    from cvat_sdk import Client as CvatClient  # pyright: ignore[reportMissingImports]
    from cvat_sdk.datasets import TaskDataset, UpdatePolicy  # pyright: ignore[reportMissingImports]

    try:
        client = CvatClient(url, check_server_version=False)
        return TaskDataset(client, task_id, update_policy=UpdatePolicy.NEVER, load_annotations=False).samples
    except Exception as err:  # of many kinds, none of which the labels depend on
        logger.warning("task %d of %s is not in cvat_sdk's cache, so nothing is looked ahead: %s", task_id, url, err)
        return ()


def _labels(names: str, shape: str, attributes: str) -> list[Label]:
    given = tuple(Attribute(id=place, name=name) for place, name in enumerate(_split(attributes)))
    return [Label(id=place, name=name, type=shape, attributes=given) for place, name in enumerate(_split(names))]


def _split(names: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))


def _item(name: str, image: Image) -> Item:
    return Item(id=f"cvat/{name}"[:256], media="image", data=png(image))


def _label_spec(label: Label) -> Any:
    from cvat_sdk import auto_annotation as cvataa  # pyright: ignore[reportMissingImports]

    attributes = [cvataa.attribute_spec(own.name, own.id, own.input_type, list(own.values)) for own in label.attributes]
    return cvataa.label_spec(label.name, label.id, type=label.type, attributes=attributes)


def _annotation(shape: Shape) -> Any:
    """The shape as cvat_sdk has it: frame 0, no id, no source; a tag has no place for a score in CVAT."""
    from cvat_sdk import auto_annotation as cvataa  # pyright: ignore[reportMissingImports]
    from cvat_sdk.attributes import attribute_vals_from_dict  # pyright: ignore[reportMissingImports]

    attributes = attribute_vals_from_dict(shape.attributes)
    if shape.type == "tag":
        return cvataa.tag(shape.label.id, attributes=attributes)
    points = list(shape.points)
    return cvataa.shape(shape.label.id, type=shape.type, points=points, score=shape.score, attributes=attributes)
