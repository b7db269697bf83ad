"""Finds the label of a labelling interface that a model's label means, and the other way round."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from pipelines.formats.characters import label_of
from pipelines.formats.label_studio.interface import Control, LabelTag


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """The labels of a control by what they may be called.

    An open one takes every label as it is: of controls whose labels come with each task, or are yet to be written.
    ``usual`` says what a model likely calls each written label: the one of its ``predicted_values``, else its value.
    """

    spellings: Mapping[str, str]
    folded: Mapping[str, str]
    usual: Mapping[str, str]
    is_open: bool = False

    @classmethod
    def of(cls, control: Control) -> Vocabulary:
        """A label's value counts first, then aliases, then ``predicted_values``, then any of them in other case."""
        tags = control.labels
        ranks = (
            ((tag.value, tag) for tag in tags),
            ((tag.alias, tag) for tag in tags if tag.alias),
            ((name, tag) for tag in tags for name in tag.predicted_values),
        )
        spellings = _first(chain.from_iterable(ranks))
        usual = {tag.written: tag.predicted_values[0] if len(tag.predicted_values) == 1 else tag.value for tag in tags}
        return cls(spellings=spellings, folded=_first_folded(spellings), usual=usual, is_open=control.is_dynamic)

    def written(self, label: str) -> str | None:
        """How the control writes a model's label; None where it offers nothing of the kind."""
        name = label_of(label)
        if self.is_open:
            return name
        return self.spellings.get(name) or self.folded.get(name.casefold())

    def meant(self, written: str, labels: Sequence[str] = ()) -> str:
        """The one of a model's labels that is written so; what is written itself where none is, or more than one.

        Args:
            labels: what the model can give; where nobody knows, it is what a model would usually say.
        """
        if not labels:
            return self.usual.get(written, written)
        means = [label for label in labels if self.written(label) == written]
        return means[0] if len(means) == 1 else written


def _first(pairs: Iterable[tuple[str, LabelTag]]) -> dict[str, str]:
    found = dict[str, str]()
    for name, tag in pairs:
        found.setdefault(name, tag.written)
    return found


def _first_folded(spellings: Mapping[str, str]) -> dict[str, str]:
    found = dict[str, str]()
    for name, written in spellings.items():
        found.setdefault(name.casefold(), written)
    return found
