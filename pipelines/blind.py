"""Takes out of a pre-label what its reviewer must not see."""

from __future__ import annotations

from dataclasses import replace

from models.types import Prediction
from pipelines.types import PreLabel


def hidden(pre_label: PreLabel) -> PreLabel:
    """What is left of a pre-label that its reviewer must not see: the item's size, and which models and rules ran.

    Nothing that depends on what they said, and nothing of the policy that decided about it.
    """
    prediction = pre_label.prediction
    return PreLabel(
        prediction=Prediction(size_hw=prediction.size_hw, duration_s=prediction.duration_s),
        confidence=None,
        calibrated=False,
        uncertainty={},
        provenance=replace(pre_label.provenance, policy_id=None, calibration_id=None),
    )
