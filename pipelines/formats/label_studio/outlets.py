"""Names the places of a labelling interface where labels go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pipelines.formats.label_studio.interface import Control, Source
from pipelines.formats.label_studio.vocabulary import Vocabulary

Shape = Literal["rectangle", "polygon", "brush", "span"]  # how a label's place is drawn

_SHAPES: Mapping[str, Shape] = {"rectanglelabels": "rectangle", "polygonlabels": "polygon", "brushlabels": "brush"}
_TOOLS: Mapping[str, Shape] = {"rectangle": "rectangle", "polygon": "polygon", "brush": "brush"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlet:
    """Where labels with a place go: the control whose labels they bear, and the tool that draws them if it is another.

    With ``<Rectangle name="box"/>`` and ``<Labels name="class"/>`` a box is two entries of one id: the tool's, and the
    control's.
    """

    shape: Shape
    control: Control
    vocabulary: Vocabulary
    tool: Control | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceOutlet:
    """Where labels of the whole item go."""

    control: Control
    vocabulary: Vocabulary


def outlets_of(controls: Sequence[Control], source: Source) -> Iterator[Outlet]:
    """Where labels with a place in the source go, in the order of the interface."""
    for control in controls:
        vocabulary = Vocabulary.of(control)
        if source.media != "image":
            if control.kind == "labels":
                yield Outlet(shape="span", control=control, vocabulary=vocabulary)
        elif control.kind in _SHAPES:
            yield Outlet(shape=_SHAPES[control.kind], control=control, vocabulary=vocabulary)
        elif control.kind == "labels":
            for tool in controls:
                if tool.kind in _TOOLS:
                    yield Outlet(shape=_TOOLS[tool.kind], control=control, vocabulary=vocabulary, tool=tool)


def choices_of(controls: Sequence[Control]) -> Iterator[ChoiceOutlet]:
    """Where labels of the whole item go, in the order of the interface; choices that are paths take none of ours."""
    for control in controls:
        if control.kind == "choices" and not control.is_per_region and not control.is_nested:
            yield ChoiceOutlet(control=control, vocabulary=Vocabulary.of(control))
