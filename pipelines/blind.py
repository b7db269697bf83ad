"""Takes out of a pre-label what its reviewer must not see."""

from __future__ import annotations

from dataclasses import replace

from models.types import Prediction
from pipelines.types import PreLabel

_HIDDEN = "hidden"


def hidden(pre_label: PreLabel) -> PreLabel:
    """What is left of a pre-label that its reviewer must not see: the item's size, and which rules there are.

    Nothing that depends on what the models said, and nothing of the policy that decided about it. A chain of models
    ends where one has found nothing, so it is not told which have run.
    """
    prediction = pre_label.prediction
    return PreLabel(
        prediction=Prediction(size_hw=prediction.size_hw, duration_s=prediction.duration_s),
        confidence=None,
        calibrated=False,
        uncertainty={},
        provenance=replace(
            pre_label.provenance,
            model=_HIDDEN,
            model_version=_HIDDEN,
            weights_digest=_HIDDEN,
            config_digest=_HIDDEN,
            chain=(),
            policy_id=None,
            calibration_id=None,
        ),
    )
