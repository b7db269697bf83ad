"""A Label Studio ML backend that labels nothing."""

from __future__ import annotations

from label_studio_ml.model import LabelStudioMLBase


class NoopModel(LabelStudioMLBase):
    """Answers every task with an empty prediction."""

    def predict(self, tasks: list[dict[str, object]], **kwargs: object) -> list[dict[str, object]]:
        return [{"result": [], "score": 0.0} for _ in tasks]
