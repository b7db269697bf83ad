"""Asks a second model, and measures how far it disagrees with what was found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from models.types import Content, Prediction, Priority, Task
from pipelines.disagreement.agreement import agreement
from pipelines.tasks import prompts_from

if TYPE_CHECKING:
    from pipelines.disagreement.disagreement import Predicts


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondModel:
    """A model of the same task as the last one of the chain; a segmenter gets the same prompts."""

    task: Task
    model: str

    async def measure(
        self,
        content: Content,
        prediction: Prediction,
        models: Predicts,
        *,
        priority: Priority,
        deadline_s: float | None,
    ) -> dict[str, float]:
        """``second_model`` = 1 − agreement: box F1 at IoU 0.5, mean mask IoU, exact span F1, or the word error rate."""
        if self.task == "segmentation" and not (content.prompts.boxes or content.prompts.points):
            content = replace(content, prompts=prompts_from(prediction))
        second = await models.predict(self.model, content, priority=priority, deadline_s=deadline_s)
        return {"second_model": 1.0 - agreement(self.task, prediction, second)}
