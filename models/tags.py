"""Reads the tags of token classifiers: IOB1, IOB2, BILOU, BIOES and bare names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from models.card import ModelCard
from models.errors import ModelError

_TAG = re.compile(r"([BILOUES])[-_](.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tags:
    """What each of the network's tags means: (position, entity), where entity "" is outside of every name.

    ``position`` is one of B I L O U E S, or I for a tag that is only a name. A card may rename whole tags
    (LABEL_1: B-PER) or entities (PER: person).
    """

    meanings: tuple[tuple[str, str], ...]
    outside: int

    @property
    def entities(self) -> tuple[str, ...]:
        """What may be found, each once."""
        return tuple(dict.fromkeys(entity for _, entity in self.meanings if entity))

    @classmethod
    def of(cls, names: Sequence[str], card: ModelCard) -> Tags:
        """Reads the tag names of a network.

        Raises:
            ModelError: none of them means "outside".
        """
        renamed = [card.labels.get(name, name) for name in names]
        meanings = tuple(meaning(name) for name in renamed)
        outside = [index for index, name in enumerate(renamed) if name.upper() in {"O", "OUTSIDE"}]
        if not outside:
            raise ModelError(
                "bad_card", f"no tag of '{card.name}' means outside; got {renamed}; map one to O in labels"
            )
        return cls(meanings=meanings, outside=outside[0])


def meaning(name: str) -> tuple[str, str]:
    if name.upper() in {"", "O", "OUTSIDE"}:
        return "O", ""
    matched = _TAG.fullmatch(name)
    return (matched[1], matched[2]) if matched else ("I", name)


def group(meanings: Sequence[tuple[str, str]]) -> list[tuple[str, int, int]]:
    """Entities in the (position, entity) of each word, as (entity, first word, word after the last).

    Reads IOB1, IOB2, BILOU, BIOES and bare names. Lenient: an I that continues nothing begins an entity.
    """
    found = list[tuple[str, int, int]]()
    is_open = False
    for index, (position, entity) in enumerate(meanings):
        continues = is_open and entity == found[-1][0] and position in "ILE"
        if continues:
            found[-1] = (entity, found[-1][1], index + 1)
        elif entity:
            found.append((entity, index, index + 1))
        is_open = bool(entity) and position not in "LEUS"
    return found
