"""Tags a batch of texts with a token classifier, as an engineer writes it around transformers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from tokenizers import Encoding
from transformers import AutoModelForTokenClassification, AutoTokenizer

_MIN_SCORE = 0.5


@dataclass
class _Open:
    """An entity whose last word may still come."""

    label: str
    start: int
    end: int
    score: float


class Tagger:
    """One network and its tokenizer, in one compute thread; a batch is padded to its longest text.

    A word's tag is its first token's, an entity's score the lowest of its words', and entities below 0.5 are left out,
    as prelabel's demo card has it, so that both find the same.
    """

    def __init__(self, folder: str) -> None:
        torch.set_num_threads(1)
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._network = AutoModelForTokenClassification.from_pretrained(folder).eval()
        self._tags = [self._network.config.id2label[tag] for tag in range(self._network.config.num_labels)]

    @torch.inference_mode()
    def entities(self, texts: list[str]) -> list[list[dict[str, object]]]:
        """The entities of each text: start, end, label, score, text."""
        batch = self._tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        scores, tags = self._network(**inputs).logits.softmax(dim=-1).max(dim=-1)
        rows = zip(batch.encodings, scores.tolist(), tags.tolist(), texts, strict=True)
        return [self._of_one(encoding, score, tag, text) for encoding, score, tag, text in rows]

    def _of_one(self, encoding: Encoding, scores: list[float], tags: list[int], text: str) -> list[dict[str, object]]:
        found: list[_Open] = []
        is_open, last_word = False, None
        for word, (start, end), score, tag in zip(encoding.word_ids, encoding.offsets, scores, tags, strict=False):
            if word is None:
                continue
            if word == last_word:
                if is_open:
                    found[-1].end = end
                continue
            last_word = word
            position, _, label = self._tags[tag].partition("-")
            if is_open and position == "I" and found[-1].label == label:
                found[-1].end, found[-1].score = end, min(found[-1].score, score)
            elif label:
                found.append(_Open(label, start, end, score))
            is_open = bool(label)
        return [
            vars(entity) | {"text": text[entity.start : entity.end]} for entity in found if entity.score >= _MIN_SCORE
        ]
