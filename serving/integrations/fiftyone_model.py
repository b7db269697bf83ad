"""Makes the service one of FiftyOne's models.

Reference: fiftyone/core/models.py (Model, SamplesMixin, SupportsGetItem, apply_model), fiftyone 1.22.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence, Set
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import numpy as np

from models.errors import ItemError
from models.types import Item, Task
from pipelines.formats.results import Result
from pipelines.prelabel import Request
from serving.client import Client
from serving.integrations.fiftyone import Fields, Labels, Sample, check, label_lists, library, mark, request_of


def make_model(client: Client, *, task: Task, labels: Sequence[str] = (), fields: Fields | None = None) -> Any:
    """A FiftyOne ``Model``: ``dataset.apply_model(make_model(client, task="detection"), label_field="predictions")``.

    Where torch is there, FiftyOne's data loader hands over the paths of the files, in batches of ``batch_size``: an
    image that cannot be read or labelled costs no other, and says so in its ``Fields``. Without torch FiftyOne itself
    decodes the images before a model sees them, and drops a whole batch for one of them; therefore the model then takes
    one image a call, and an image that FiftyOne cannot decode is skipped without a mark. ``pre_label`` needs no torch,
    and is faster.

    The model that is returned belongs to whoever closes the client.

    Args:
        labels: keeps only annotations with these; ``classes`` of apply_model does so too, after the call.
    """
    check(task)
    core = library("fiftyone.core.models")
    loads_paths = find_spec("torch") is not None
    bases = (core.SupportsGetItem, core.TorchModelMixin) if loads_paths else ()
    made = type(
        "PrelabelModel", (_Predicts, core.SamplesMixin, *bases, core.Model), {"ragged_batches": not loads_paths}
    )
    return made(client, task=task, labels=labels, fields=fields or Fields())


class _Predicts:
    """What makes a class of FiftyOne's a model of the service."""

    media_type = "image"
    transforms = None
    preprocess = False
    has_collate_fn = True

    def __init__(self, client: Client, *, task: Task, labels: Sequence[str], fields: Fields) -> None:
        super().__init__()
        self.config = SimpleNamespace()  # which FiftyOne asks whether the model knows thresholds and classes itself
        self._client, self._labels, self._marks = client, labels, fields
        self._task: Task = task

    @staticmethod
    def collate_fn(batch: Sequence[str]) -> Sequence[str]:
        return batch

    def build_get_item(self, field_mapping: Mapping[str, str] | None = None) -> _FilePath:
        return _FilePath(field_mapping or {})

    def predict(self, arg: np.ndarray | str, sample: Sample = None) -> Labels:
        """The image's ``Detections``; None if it failed and its sample says so.

        Raises:
            ItemError: it failed, and there is no sample to say so.
        """
        [result] = self._results([arg], [sample])
        if result.error and not _is_image(sample):
            raise ItemError(result.error.code, result.error.message)
        return self._said(result, sample)

    def predict_all(self, args: Sequence[np.ndarray | str], samples: Sequence[Sample] | None = None) -> list[Labels]:
        """The ``Detections`` of each image, from one call; None for one that failed, whose sample says so."""
        of_samples = [None] * len(args) if samples is None else list(samples)
        results = self._results(args, of_samples)
        return [self._said(result, sample) for result, sample in zip(results, of_samples, strict=True)]

    def _results(self, args: Sequence[np.ndarray | str], samples: Sequence[Sample]) -> list[Result]:
        asked = [self._asked(arg, sample, n) for n, (arg, sample) in enumerate(zip(args, samples, strict=True))]
        sent = [request for request in asked if isinstance(request, Request)]
        answers = iter(self._client.pre_label(sent, labels=self._labels))
        return [request if isinstance(request, Result) else next(answers) for request in asked]

    def _asked(self, arg: np.ndarray | str, sample: Sample, number: int) -> Request | Result:
        item_id = sample.id if _is_image(sample) else str(number)
        if isinstance(arg, str) or _is_image(sample):
            return request_of(arg if isinstance(arg, str) else sample.filepath, task=self._task, item_id=item_id)
        return Request(item=Item(id=item_id, media="image", data=_png(arg)), task=self._task)

    def _said(self, result: Result, sample: Sample) -> Labels:
        found = label_lists(result)
        if _is_image(sample):
            mark(sample, self._marks.of(result, found=found), known=_fields_of(sample))
        return None if result.error else found["Detections"]


class _FilePath:
    """What tells FiftyOne's data loader to hand over paths (GetItem of fiftyone/utils/torch.py, which needs torch)."""

    required_keys = ("filepath",)

    def __init__(self, field_mapping: Mapping[str, str]) -> None:
        self.field_mapping = {"filepath": "filepath", **field_mapping}

    def __call__(self, values: Mapping[str, str]) -> str:
        return values["filepath"]


def _is_image(sample: Sample) -> bool:
    """Whether there is a sample, and it is of the image itself, not of the video that a frame was taken from."""
    return sample is not None and sample.media_type == "image"


def _fields_of(sample: Sample) -> Set[str]:
    """The fields of the sample's whole dataset, which a view may hide."""
    return frozenset(sample.dataset.get_field_schema() if sample.in_dataset else sample.field_names)


def _png(image_rgb: np.ndarray) -> bytes:
    """An (H, W, 3) uint8 image as a file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image_rgb)).save(file, "PNG", compress_level=1)
    return file.getvalue()
