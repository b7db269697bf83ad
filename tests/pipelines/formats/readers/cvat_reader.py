"""Runs our auto-annotation functions through cvat-sdk's own mapper and spec checks."""

import base64
import io
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[4]))

import PIL.Image
from cvat_sdk import auto_annotation as cvataa
from cvat_sdk import models
from cvat_sdk.auto_annotation.driver import _AnnotationMapper, _DetectionFunctionContextImpl
from cvat_sdk.masks import decode_mask
from pydantic import TypeAdapter

from pipelines.formats.results import Result
from serving.integrations.cvat.function import Function
from serving.integrations.cvat.interactor import create
from serving.integrations.cvat.label import read_labels


class Given:
    """A service that says what it was given to say."""

    def __init__(self, results):
        self.results = results

    def stream(self, requests):
        list(requests)
        return iter(self.results)


class Prompts(cvataa.InteractionPrompts):
    def __init__(self, pos_points, neg_points, bounding_box):
        self._given = pos_points, neg_points, bounding_box

    pos_points = property(lambda self: self._given[0])
    neg_points = property(lambda self: self._given[1])
    bounding_box = property(lambda self: self._given[2])


def read(action, **asked):
    return {"map": mapped, "decode": decoded, "interact": interacted}[action](**asked)


def mapped(results, labels, task_labels, conf_threshold=None, conv_mask_to_poly=False, spoil=None):
    """What cvat-sdk would upload for the function's answers; ``spoil`` sets a field of each as it must not be."""
    answers = TypeAdapter(list[Result]).validate_python(results)
    function = Function(Given(answers), read_labels(labels), task="segmentation")
    mapper = _AnnotationMapper(
        logging.getLogger("mapper"),
        function.spec.labels,
        [models.Label._from_openapi_data(**label) for label in task_labels],
        allow_unmatched_labels=False,
        conv_mask_to_poly=conv_mask_to_poly,
    )
    context = _DetectionFunctionContextImpl(
        frame_name="a.png", conf_threshold=conf_threshold, conv_mask_to_poly=conv_mask_to_poly
    )
    found = function.detect(context, PIL.Image.new("RGB", (64, 48)))
    for one in found:
        for name, value in (spoil or {}).items():
            setattr(one, name, value)
    tags, shapes = mapper.validate_and_remap(found, 7)
    return {"tags": [tag.to_dict() for tag in tags], "shapes": [_plain(shape) for shape in shapes]}


def _plain(shape):
    return shape.to_dict() | {"type": str(shape.type)}


def decoded(points, size_hw):
    """The pixels that cvat-sdk reads out of a mask's points."""
    height, width = size_hw
    return decode_mask(points, image_width=width, image_height=height).astype(int).tolist()


def interacted(url, image, pos_points=(), neg_points=(), bounding_box=None):
    """What an agent would hand in for clicks, by our interaction function."""
    function = create(url)
    assert isinstance(function.spec, cvataa.InteractionFunctionSpec)
    opened = PIL.Image.open(io.BytesIO(base64.b64decode(image)))
    ready = function.preprocess_image(None, opened)
    shapes = function.detect(None, ready, Prompts(pos_points, neg_points, bounding_box))
    return [
        {"type": shape.type, "points": shape.points, "attributes": [own.to_dict() for own in shape.attributes]}
        for shape in shapes
    ]
