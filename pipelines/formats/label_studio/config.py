"""Writes the labelling interface that a Label Studio project needs to show our predictions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from xml.sax.saxutils import quoteattr

from models.types import MEDIA_OF_TASK, Media, Task
from pipelines.formats.label_studio.binding import Binding, bind
from pipelines.formats.label_studio.interface import Control, Interface, Source

# What is labelled: its tag, whose name and data field are the medium's.
_OBJECTS: dict[Media, str] = {
    "image": '<Image name="image" value="$image" zoom="true" zoomControl="true"/>',
    "audio": '<Audio name="audio" value="$audio"/>',
    # Without this style the browser shows runs of spaces as one.
    "text": '<Style>.htx-text{ white-space: pre-wrap; }</Style>\n  <Text name="text" value="$text"/>',
}

# What labels it: tag, name of one label's tag, further attributes; by the type of its regions.
_CONTROLS: dict[str, tuple[str, str, str]] = {
    "rectanglelabels": ("RectangleLabels", "Label", ""),
    "polygonlabels": ("PolygonLabels", "Label", ""),
    "brushlabels": ("BrushLabels", "Label", ""),
    "labels": ("Labels", "Label", ""),
    "choices": ("Choices", "Choice", ' choice="multiple"'),
}
_TRANSCRIPTION = '<TextArea name="textarea" toName="audio" perRegion="true" editable="true" rows="2"/>'

_USUAL: dict[Task, str] = {
    "detection": "rectanglelabels",
    "segmentation": "brushlabels",
    "ner": "labels",
    "speech": "labels",
}


def open_binding(task: Task) -> Binding:
    """How to write for an interface that is yet to be made: by ``label_config``, once it is known what occurs."""
    medium = MEDIA_OF_TASK[task]
    source = Source(name=medium, tag=medium.capitalize(), attributes={}, media=medium, field=medium)
    controls = [
        Control(name=kind, tag=tag, to_name=(medium,), attributes={"value": "$labels", "choice": "multiple"})
        for kind, (tag, _, _) in _CONTROLS.items()
    ]
    area = Control(name="textarea", tag="TextArea", to_name=(medium,), attributes={"perRegion": "true"})
    return bind(Interface(sources=(source,), controls=(*controls, area)), task)


def label_config(task: Task, used: Mapping[str, Iterable[str]], *, labels: Iterable[str]) -> str:
    """The interface as XML.

    Args:
        used: labels by the type of the regions that they occur in.
        labels: what the tag that the task usually needs offers where nothing of its kind occurs. Label Studio refuses
            a tag without labels, so that "unnamed" stands in for none.
    """
    medium = MEDIA_OF_TASK[task]
    offered = {_USUAL[task]: list(labels) or ["unnamed"]} | dict(used)
    controls = [_control(kind, offered[kind], medium) for kind in _CONTROLS if kind in offered]
    if medium == "audio":
        controls.append(_TRANSCRIPTION)
    return "\n  ".join(["<View>", _OBJECTS[medium], *controls]) + "\n</View>\n"


def _control(kind: str, labels: Iterable[str], medium: Media) -> str:
    tag, one, further = _CONTROLS[kind]
    choices = "".join(f"\n    <{one} value={quoteattr(label)}/>" for label in sorted(labels))
    return f'<{tag} name="{kind}" toName="{medium}"{further}>{choices}\n  </{tag}>'
