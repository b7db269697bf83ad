"""Says why a labelling interface cannot show what a task's models say, and what to add to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import quoteattr

from models.errors import PrelabelError
from models.types import MEDIA_OF_TASK, Task
from pipelines.formats.label_studio.interface import Control, Interface, Source

_MOST_NAMED = 10
_SOURCES: Mapping[str, str] = {
    "image": '<Image name="image" value="$image"/>',
    "audio": '<Audio name="audio" value="$audio"/>',
    "text": '<Text name="text" value="$text"/>',
}
_CONTROLS: Mapping[Task, str] = {
    "detection": '<RectangleLabels name="label" toName={to}>{labels}</RectangleLabels>',
    "segmentation": '<BrushLabels name="label" toName={to}>{labels}</BrushLabels>',
    "ner": '<Labels name="label" toName={to}>{labels}</Labels>',
    "speech": '<TextArea name="transcription" toName={to} editable="true"/> for the whole, or for each span <Labels '
    'name="label" toName={to}>{labels}</Labels> with <TextArea name="transcription" toName={to} perRegion="true"/>',
}


class UnservableError(PrelabelError):
    """A labelling interface cannot show what a task's models say. Code: unservable_config.

    ``reasons`` says for each thing what was found and what to add.
    """

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__("unservable_config", f"this project cannot be pre-labelled: {'; '.join(self.reasons)}")

    def __reduce__(self) -> tuple[type[UnservableError], tuple[tuple[str, ...]]]:  # type: ignore[override]
        return type(self), (self.reasons,)


def no_source(interface: Interface, task: Task) -> str:
    """Nothing of the task's medium is shown."""
    medium = MEDIA_OF_TASK[task]
    hypertext = next((source for source in interface.sources if source.tag == "HyperText"), None)
    if medium == "text" and hypertext is not None:
        return (
            f"{_named(hypertext)} counts places in the page that a browser makes of it, and a model reads plain text; "
            f"put the plain text into a field and add {_SOURCES[medium]}"
        )
    shown = ", ".join(map(_named, interface.sources[:_MOST_NAMED]))
    return f"{task} is for {medium}, and the interface shows {shown}; add {_SOURCES[medium]}"


def no_field(source: Source) -> str:
    """What is shown is no single field of a task."""
    value = source.attributes.get("valueList") or source.attributes.get("value", "")
    return f'{_named(source)} shows "{value[:60]}", wanted one field of the task, as in value="${source.media}"'


def encoded(source: Source) -> str:
    """What is shown is encoded."""
    return f"{_named(source)} shows a text in {source.attributes['encoding']}, wanted it plain; take encoding= out"


def no_control(controls: Sequence[Control], source: Source, task: Task, labels: Sequence[str]) -> str:
    """Nothing takes what the task finds."""
    has = ", ".join(map(_named, controls[:_MOST_NAMED])) or "nothing"
    offered = "".join(f"<Label value={quoteattr(label)}/>" for label in (labels or ("…",))[:_MOST_NAMED])
    wanted = _CONTROLS[task].format(to=quoteattr(source.name), labels=offered)
    return f"{_named(source)} is labelled by {has}, which takes nothing that {task} finds; add {wanted}"


def no_label(controls: Sequence[str], labels: Sequence[str]) -> str:
    """None of the model's labels is offered."""
    given = ", ".join(f"'{label}'" for label in labels[:_MOST_NAMED])
    one = quoteattr(labels[0])
    return (
        f"the model gives {given}{', …' if len(labels) > _MOST_NAMED else ''}, and {', '.join(controls)} has none of "
        f'them; add <Label value={one}/>, or say which label means it: <Label value="…" predicted_values={one}/>'
    )


def _named(tag: Source | Control) -> str:
    return f'<{tag.tag} name="{tag.name}">'
