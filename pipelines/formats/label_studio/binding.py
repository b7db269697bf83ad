"""Binds a task to a labelling interface: where its boxes, masks, spans and words go, and under which labels."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from models.types import MEDIA_OF_TASK, Geometry, Task
from pipelines.formats.label_studio.interface import Control, Interface, Source
from pipelines.formats.label_studio.outlets import ChoiceOutlet, Outlet, Shape, choices_of, outlets_of
from pipelines.formats.label_studio.unservable import (
    UnservableError,
    encoded,
    no_control,
    no_field,
    no_label,
    no_source,
)

__all__ = ["Binding", "UnservableError", "bind", "choose_task"]

# The shapes that a geometry can be drawn as, the truest first.
_DRAWN: Mapping[str, tuple[Shape, ...]] = {
    "box": ("rectangle", "polygon"),
    "polygon": ("polygon", "brush", "rectangle"),
    "mask": ("brush", "polygon", "rectangle"),
    "text_span": ("span",),
    "time_span": ("span",),
}
# What a task's objects are, to find out whether an interface takes them.
_MAIN: Mapping[Task, str] = {"detection": "box", "segmentation": "mask", "ner": "text_span", "speech": "time_span"}
_BY_RANK: tuple[Task, ...] = ("segmentation", "detection", "ner", "speech")


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What of an interface a task fills.

    ``labels`` are those that the model can give; none where nobody knows. ``said`` takes what is said in a span of
    speech, ``transcript`` what is said in the whole recording where no control takes it span by span.
    """

    task: Task
    source: Source
    labels: tuple[str, ...] = ()
    outlets: tuple[Outlet, ...] = ()
    choices: tuple[ChoiceOutlet, ...] = ()
    said: Control | None = None
    transcript: Control | None = None

    def outlet(self, geometry: Geometry, label: str) -> tuple[Outlet, str] | None:
        """Where a label with a place goes, and how it is written there; None where nothing takes it.

        Of the controls that offer the label it is the one that draws the place most truly: a mask goes to a
        BrushLabels, else to a PolygonLabels as its outlines, else to a RectangleLabels as the box around it. A box
        goes to a RectangleLabels, else to a PolygonLabels as its four corners; never to a brush, for nobody has seen
        which of its pixels are the object's.
        """
        return self._outlet(geometry.kind, label)

    def _outlet(self, kind: str, label: str) -> tuple[Outlet, str] | None:
        for shape in _DRAWN.get(kind, ()):
            for outlet in self.outlets:
                if outlet.shape == shape and (written := outlet.vocabulary.written(label)) is not None:
                    return outlet, written
        return None

    def choice(self, label: str) -> tuple[ChoiceOutlet, str] | None:
        """Where a label of the whole item goes, and how it is written there; None where nothing takes it."""
        for outlet in self.choices:
            if (written := outlet.vocabulary.written(label)) is not None:
                return outlet, written
        return None

    def drawn_label(self, label: str) -> str:
        """The label under which somebody gets what they point at: the given one where some control draws it, else the
        only one that controls can draw. With several of those nobody knows which, and it stays as it is."""
        offered = [one.vocabulary for one in self.outlets if one.shape in _DRAWN["mask"]]
        if self._outlet("mask", label) is not None or any(one.is_open for one in offered):
            return label
        written = {name for one in offered for name in one.usual}
        return written.pop() if len(written) == 1 else label

    @property
    def missing_labels(self) -> tuple[str, ...]:
        """The labels that the model can give and no control offers: what bears them is left out of predictions."""
        return tuple(
            label for label in self.labels if not (self._outlet(_MAIN[self.task], label) or self.choice(label))
        )

    @property
    def is_placed(self) -> bool:
        """Whether some control takes what the task finds, whatever its label."""
        return any(outlet.shape in _DRAWN[_MAIN[self.task]] for outlet in self.outlets)


def bind(interface: Interface, task: Task, *, labels: Sequence[str] = ()) -> Binding:
    """What of an interface a task fills: the first source of its medium that has something for it.

    Args:
        labels: what the model can give. At least one has to be offered; ``missing_labels`` tells of those that are
            not. None: it is not known, and labels are not checked.

    Raises:
        UnservableError: nothing of the interface takes what the task gives; it lists why, and what to add.
    """
    reasons = list[str]()
    for source in interface.sources:
        if source.media == MEDIA_OF_TASK[task]:
            binding = _binding(interface, source, task, tuple(labels))
            lacking = list(_lacking(interface, binding))
            if not lacking:
                return binding
            reasons += lacking
    raise UnservableError(reasons or [no_source(interface, task)])


def choose_task(interface: Interface, tasks: Collection[Task], *, is_interactive: bool = False) -> Task:
    """The one of the tasks that fits an interface best.

    Of detection and segmentation it is segmentation where masks can be drawn as masks or outlines, else detection; for
    an interactive request, in which someone has pointed at an object, it is segmentation, whose models take prompts.

    Raises:
        UnservableError: none of the tasks can be served.
    """
    can, reasons = dict[Task, Binding](), list[str]()
    for task in _BY_RANK:
        if task in tasks:
            try:
                can[task] = bind(interface, task)
            except UnservableError as err:
                reasons += (f"{task}: {reason}" for reason in err.reasons)
    if not can:
        raise UnservableError(reasons or ["no task is deployed; deploy a model"])
    if "segmentation" in can and "detection" in can and not is_interactive:
        draws = any(outlet.shape in ("brush", "polygon") for outlet in can["segmentation"].outlets)
        return "segmentation" if draws else "detection"
    return next(iter(can))


def _binding(interface: Interface, source: Source, task: Task, labels: tuple[str, ...]) -> Binding:
    controls = interface.controls_of(source)
    outlets = tuple(outlets_of(controls, source))
    areas = [control for control in controls if control.kind == "textarea" and task == "speech"]
    has_spans = any(not labels or any(outlet.vocabulary.written(label) for label in labels) for outlet in outlets)
    said = next((area for area in areas if area.is_per_region and has_spans), None)
    whole = next((area for area in areas if not area.is_per_region), None)
    return Binding(
        task=task,
        source=source,
        labels=labels,
        outlets=outlets,
        choices=tuple(choices_of(controls)),
        said=said,
        transcript=None if said else whole,
    )


def _lacking(interface: Interface, binding: Binding) -> Iterator[str]:
    """What keeps a task from being served."""
    source, labels = binding.source, binding.labels
    if source.field is None:
        yield no_field(source)
    if source.attributes.get("encoding", "none") != "none":
        yield encoded(source)
    if binding.transcript:
        return
    if not binding.is_placed:  # choices alone do not do: no model of ours labels an item as a whole
        yield no_control(interface.controls_of(source), source, binding.task, labels)
    elif labels and len(binding.missing_labels) == len(labels):
        names = dict.fromkeys(outlet.control.name for outlet in binding.outlets)
        yield no_label(list(names), labels)
