"""Fills in the confidences of predictions by what humans have said of earlier ones from the same models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

from pydantic import TypeAdapter

from models.types import Prediction, Task
from pipelines.calibration.by_label import Described, LabelCalibration
from pipelines.calibration.features import features
from pipelines.calibration.item_score import ItemScore
from pipelines.calibration.raw_score import raw_score
from pipelines.identity import identity


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What was fitted for one task and one chain of models.

    It serves display and ranking. The guarantee of a certificate does not depend on it: that holds for any score.

    Attributes:
        chain, config_digest: of the models whose predictions humans judged, as in their ``Provenance``; it says nothing
            of others.
        labels: P(an annotation is right); None where too few were judged.
        item: P(nothing of a prediction needs a correction); None where too few items were judged. It was fitted on
            predictions whose annotations had been given their confidence by ``labels``.
    """

    task: Task
    chain: tuple[str, ...]
    config_digest: str
    labels: LabelCalibration | None
    item: ItemScore | None
    created_at: datetime

    @property
    def id(self) -> str:
        """The word calibration and twelve digits of the sha256 of everything that is in it."""
        return self._id

    @cached_property
    def _id(self) -> str:
        return identity("calibration", CALIBRATION.dump_json(self))

    @property
    def n_labels(self) -> int:
        """How many judged annotations it was fitted on."""
        return self.labels.pooled.n if self.labels else 0

    @property
    def n_items(self) -> int:
        """How many judged items it was fitted on."""
        return self.item.n if self.item else 0

    def applies_to(self, chain: Sequence[str], config_digest: str) -> bool:
        """Whether predictions of this chain may be called calibrated: the same bytes and configuration, or none."""
        return tuple(chain) == self.chain and config_digest == self.config_digest

    def confident(self, prediction: Prediction) -> tuple[Prediction, float | None]:
        """The prediction with the confidence of each annotation, and P(nothing of it needs a correction).

        Either stays as it was, or None, where it was not fitted.
        """
        if self.labels is not None:
            prediction = replace(prediction, annotations=self.labels.confident(prediction.annotations))
        if self.item is None:
            return prediction, None
        read = features(self.task, prediction.signals, prediction.annotations)
        raw = raw_score(self.task, prediction.signals, prediction.annotations)
        return prediction, self.item.probability(read, raw=raw)

    def describe(self, label: str | None = None) -> Described | None:
        """How a label's confidence comes about, for display; None where there is none."""
        return self.labels.describe(label) if self.labels else None

    def to_json(self) -> bytes:
        return CALIBRATION.dump_json(self)

    @classmethod
    def from_json(cls, data: bytes | str) -> Calibration:
        """The very value that ``to_json`` wrote, id included.

        Raises:
            pydantic.ValidationError: it is none.
        """
        return CALIBRATION.validate_json(data)


CALIBRATION = TypeAdapter(Calibration)  # built once: it costs milliseconds, and every decision names its calibration
