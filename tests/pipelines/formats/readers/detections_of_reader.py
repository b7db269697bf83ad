"""Makes detections of results, with supervision, as its users do."""

import json
import sys
from pathlib import Path

import numpy as np
import supervision as sv

ROOT = Path(__file__).parents[4]
# What supervision has not itself comes from the service's environment, behind all that supervision has.
sys.path += [str(ROOT), str(ROOT / f".venv/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages")]

from pipelines.formats.results import RESULT  # noqa: E402
from serving.integrations.supervision import detections  # noqa: E402


def read(results, classes=()):
    """What each result's detections are, and all of them merged."""
    found = [detections(RESULT.validate_json(json.dumps(result)), classes=classes) for result in results]
    return [as_json(one) for one in [*found, sv.Detections.merge(found)]]


def as_json(found):
    return {
        "xyxy": found.xyxy.tolist(),
        "confidence": found.confidence.tolist(),
        "class_id": found.class_id.tolist(),
        "masks": None if found.mask is None else [np.argwhere(mask).tolist() for mask in found.mask],
        "data": {name: np.asarray(values).tolist() for name, values in found.data.items()},
    }
