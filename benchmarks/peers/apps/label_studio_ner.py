"""A Label Studio ML backend around a transformers pipeline, in the manner of its Hugging Face NER example.

As there: one pipeline for the process, called once with the texts of all tasks. Unlike there, the pipeline groups
tokens into words and entities itself (aggregation_strategy="first"), so that the spans are prelabel's; the example
joins what has the same label, also across other words.
"""

from __future__ import annotations

import os

import torch
from label_studio_ml.model import LabelStudioMLBase
from transformers import pipeline

_MIN_SCORE = 0.5
_pipeline = None


class NerModel(LabelStudioMLBase):
    """Labels the texts of tasks with character spans."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        global _pipeline
        if _pipeline is None:
            torch.set_num_threads(1)
            folder = os.environ["NETWORK"]
            _pipeline = pipeline("ner", model=folder, tokenizer=folder, aggregation_strategy="first")
        self.from_name, info = next(iter(self.parsed_label_config.items()))
        self.to_name, self.value = info["to_name"][0], info["inputs"][0]["value"]

    def predict(self, tasks: list[dict[str, dict[str, str]]], **kwargs: object) -> list[dict[str, object]]:
        texts = [task["data"][self.value] for task in tasks]
        return [self._prediction(entities) for entities in _pipeline(texts, batch_size=_batch_size())]

    def _prediction(self, entities: list[dict[str, object]]) -> dict[str, object]:
        result = [
            {
                "from_name": self.from_name,
                "to_name": self.to_name,
                "type": "labels",
                "value": {"start": entity["start"], "end": entity["end"], "labels": [entity["entity_group"]]},
                "score": float(entity["score"]),
            }
            for entity in entities
            if entity["score"] >= _MIN_SCORE
        ]
        average = sum(entry["score"] for entry in result) / len(result) if result else 0.0
        return {"result": result, "score": average}


def _batch_size() -> int:
    """The example gives none, which is 1."""
    return int(os.environ.get("BATCH_SIZE", "1"))
