"""Labels images with the service as one of FiftyOne's models, and by the call that FiftyOne has no part in."""

import importlib.util
import logging
import sys
from pathlib import Path

from fiftyone_reader import fo, label_as_json, np

ROOT = Path(__file__).parents[4]
# What FiftyOne has not itself comes from the service's environment, behind all that FiftyOne has.
sys.path += [str(ROOT), str(ROOT / f".venv/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages")]

import fiftyone.core.models as fom  # noqa: E402

from serving.client import Client  # noqa: E402
from serving.integrations import fiftyone_model  # noqa: E402
from serving.integrations.fiftyone import pre_label  # noqa: E402


class Naive(fom.Model):
    """What a model is without our care, for comparison."""

    media_type, ragged_batches, transforms, preprocess = "image", False, None, False

    def predict_all(self, args):
        return [fo.Detections() for _ in args]


class Warned(logging.Handler):
    def __init__(self):
        super().__init__()
        self.said = []

    def emit(self, record):
        self.said.append(record.getMessage())


def read(do, address, files, has_torch=True, task="detection", batch_size=None, **options):
    fiftyone_model.find_spec = importlib.util.find_spec if has_torch else lambda _: None
    dataset, warned = fo.Dataset(), Warned()
    logging.getLogger("fiftyone.core.models").addHandler(warned)
    dataset.add_samples([fo.Sample(filepath=file) for file in files])
    try:
        with Client(address) as client:
            answer = globals()[do](dataset, client, task=task, batch_size=batch_size, **options)
        return {
            "answer": answer,
            "warned": warned.said,
            "loads_torch": "torch" in sys.modules,
            "samples": [as_json(sample) for sample in dataset],
        }
    finally:
        logging.getLogger("fiftyone.core.models").removeHandler(warned)
        dataset.delete()


def call(dataset, client, *, task, batch_size, times=1, **options):
    for _ in range(times):
        tally = pre_label(dataset, client, task=task, label_field="found", **options)
    return tally.items


def apply(dataset, client, *, task, batch_size, times=1, **options):
    model = fiftyone_model.make_model(client, task=task)
    for _ in range(times):
        dataset.apply_model(model, label_field="found", batch_size=batch_size, num_workers=0, **options)


def naive(dataset, client, *, task, batch_size):
    dataset.apply_model(Naive(), label_field="found", batch_size=batch_size)


def predict(dataset, client, *, task, batch_size):
    """A decoded image, of which nobody knows a sample."""
    model = fiftyone_model.make_model(client, task=task)
    (label,) = model.predict_all([np.zeros((30, 40, 3), np.uint8)])
    return [label_as_json(one) for one in label.detections]


def as_json(sample):
    found = {name: value for name, value in sample.iter_fields() if name.startswith(("found", "prelabel_"))}
    for name, value in found.items():
        if isinstance(value, (fo.Detections, fo.Polylines, fo.Classifications)):
            found[name] = [label_as_json(label) for label in value[value._LABEL_LIST_FIELD]]
    return found
