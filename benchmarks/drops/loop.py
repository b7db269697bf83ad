"""Labels a folder in a plain loop: ``python -m benchmarks.drops.loop CONFIG FOLDER FILE``.

What somebody writes who has an adapter and a folder: one thread, one batch after the other, one file of results.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import yaml
from pydantic import TypeAdapter

from benchmarks.ratios.arms import in_a_loop
from models.adapter import load
from models.card import ModelCard, card_from
from models.types import Content, Prediction

_PREDICTION = TypeAdapter(Prediction)


def main() -> None:
    config, folder, results = map(Path, sys.argv[1:])
    card = card_in(config)
    adapter = load(card, Path(card.weights))
    files = sorted(folder.iterdir())
    start = time.perf_counter()
    with results.open("w", encoding="utf-8") as lines:
        for first in range(0, len(files), card.limits.max_items):
            batch = files[first : first + card.limits.max_items]
            contents = [Content(media=card.media, data=file.read_bytes()) for file in batch]
            predictions = in_a_loop(adapter, contents, batch_size=len(contents)).predictions
            for file, prediction in zip(batch, predictions, strict=True):
                found = _PREDICTION.dump_json(prediction).decode()
                lines.write(f'{{"id": {json.dumps(file.name)}, "prediction": {found}}}\n')
    print(json.dumps({"items": len(files), "seconds": time.perf_counter() - start}))


def card_in(config: Path) -> ModelCard:
    """The card of the only model of a configuration."""
    [card] = yaml.safe_load(config.read_text(encoding="utf-8"))["models"]
    return card_from(card, folder=config.parent)


if __name__ == "__main__":
    main()
