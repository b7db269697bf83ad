"""Tests the models of one process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from models.card import read_card
from models.media import MediaLimits
from pipelines.local import LocalModels

CARD = Path(__file__).parents[2] / "models" / "demo" / "weights" / "ner" / "card.yaml"


async def test_only_the_models_that_are_loaded_are_looked_after(tmp_path: Path) -> None:
    card = read_card(CARD)
    missing = replace(card, name="missing", weights=str(tmp_path / "nowhere"))
    models = LocalModels({card.name: card, missing.name: missing}, tmp_path / "none.lock", MediaLimits())
    models.use_of(card.name)

    assert await models.are_ready()
    await models.close()
    with pytest.raises(RuntimeError, match="has ended"):
        await models.are_ready()
