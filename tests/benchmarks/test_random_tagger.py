"""Checks the network that comparisons load."""

from __future__ import annotations

from pathlib import Path

from benchmarks import random_tagger, texts
from models.adapter import load
from models.card import card_from
from models.types import TextPayload


def test_a_random_tagger_finds_entities_that_no_rounding_moves(tmp_path: Path) -> None:
    folder = random_tagger.write(tmp_path, layers=1, hidden=64)
    entry = {"name": "tagger", "task": "ner", "adapter": "token_classification", "weights": ".", "min_score": 0.0}
    adapter = load(card_from(entry, folder=folder), folder)
    payloads = [TextPayload(text=text) for text in texts.sentences(20)]

    predictions = adapter.read(adapter.forward(adapter.prepare(payloads)), payloads)

    scores = [annotation.score for prediction in predictions for annotation in prediction.annotations]
    words = sum(len(payload.text.split()) for payload in payloads)
    assert 0.02 * words < len(scores) < 0.6 * words
    assert sum(score > 0.6 for score in scores) > 0.8 * len(scores)
