"""Turns models' own scores into probabilities, by what humans have said; report/ shows how well that works."""

from pipelines.calibration.by_label import Described, LabelCalibration, fit_labels
from pipelines.calibration.calibration import CALIBRATION, Calibration
from pipelines.calibration.calibrator import Calibrator, fit
from pipelines.calibration.errors import TooFewLabelsError
from pipelines.calibration.features import features
from pipelines.calibration.fitting import fit_calibration
from pipelines.calibration.item_score import ItemScore, fit_item
from pipelines.calibration.raw_score import raw_score

__all__ = [
    "CALIBRATION",
    "Calibration",
    "Calibrator",
    "Described",
    "ItemScore",
    "LabelCalibration",
    "TooFewLabelsError",
    "features",
    "fit",
    "fit_calibration",
    "fit_item",
    "fit_labels",
    "raw_score",
]
