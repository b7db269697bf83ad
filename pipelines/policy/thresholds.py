"""Decides by fixed thresholds what a human must look at, and says why."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field, TypeAdapter

from models.types import Annotation, Item, Prediction, Task
from pipelines.types import Decision, PreLabel

Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True)
class ThresholdPolicy:
    """Accepts an item when every one of its labels, and the chance that none is missing, clear fixed thresholds.

    The thresholds compare the models' own scores. They carry no guarantee: they are a place to start from until enough
    reviews exist to certify a bound.

    Attributes:
        accept_score: what each annotation's score must reach, unless its label has its own.
        labels: thresholds of single labels.
        accept_no_miss: what the signal ``no_miss`` must reach when there are labels.
        accept_nothing_found: what ``no_miss`` must reach when there are none.
        queue: where items for human review go.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    queue: str
    accept_score: Share
    labels: dict[str, Share] = field(default_factory=dict)
    accept_no_miss: Share = 0.0
    accept_nothing_found: Share = 1.0

    @property
    def id(self) -> str:
        return self._id

    @cached_property
    def _id(self) -> str:
        return "thresholds-" + hashlib.sha256(_POLICY.dump_json(self)).hexdigest()[:12]

    def decide(self, item: Item, task: Task, pre_label: PreLabel) -> Decision:
        prediction = pre_label.prediction
        if not prediction.annotations:
            return self._judge_absence(prediction)
        weakest = min(prediction.annotations, key=self._margin)
        threshold = self._threshold(weakest)
        if not weakest.score >= threshold:
            return self._review(f"{_named(weakest)} scored {weakest.score:.2f}, below {threshold:.2f}", threshold)
        no_miss = prediction.signals.get("no_miss")
        if self.accept_no_miss and no_miss is None:
            return self._review("nothing says whether a label is missing", self.accept_no_miss)
        if no_miss is not None and not no_miss >= self.accept_no_miss:
            return self._review(
                f"something may be missing: a rejected candidate leaves {no_miss:.2f} sure, below "
                f"{self.accept_no_miss:.2f}",
                self.accept_no_miss,
            )
        scored = f"{_named(weakest)} scored {weakest.score:.2f} (needs {threshold:.2f})"
        count = len(prediction.annotations)
        return self._accept(
            scored if count == 1 else f"{count} labels are good enough; the weakest, {scored}", threshold
        )

    def _judge_absence(self, prediction: Prediction) -> Decision:
        no_miss = prediction.signals.get("no_miss", 0.0)
        needs = self.accept_nothing_found
        if not no_miss >= needs:
            return self._review(f"nothing found, and only {no_miss:.2f} sure of it (needs {needs:.2f})", needs)
        return self._accept(f"nothing found, {no_miss:.2f} sure of it (needs {needs:.2f})", needs)

    def _margin(self, annotation: Annotation) -> float:
        """How far the score lies above its threshold; a score that is no number lies below any."""
        return -math.inf if math.isnan(annotation.score) else annotation.score - self._threshold(annotation)

    def _threshold(self, annotation: Annotation) -> float:
        return self.labels.get(annotation.label, self.accept_score)

    def _review(self, reason: str, threshold: float) -> Decision:
        return Decision(
            route="review",
            queue=self.queue,
            reason=reason,
            policy_id=self.id,
            threshold=threshold,
            propensity=1.0,
            draw=None,
        )

    def _accept(self, reason: str, threshold: float) -> Decision:
        return Decision(
            route="accept",
            queue=None,
            reason=reason,
            policy_id=self.id,
            threshold=threshold,
            propensity=0.0,
            draw=None,
        )


_POLICY = TypeAdapter(ThresholdPolicy)  # built once: it costs a millisecond, and every decision names its policy


def _named(annotation: Annotation) -> str:
    return f"{annotation.label} '{annotation.text}'" if annotation.text else f"{annotation.label} #{annotation.id}"
