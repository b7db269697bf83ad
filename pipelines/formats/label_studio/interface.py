"""Reads what a Label Studio project shows and takes out of its labelling interface, which is XML from strangers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.parsers import expat

from models.errors import ConfigError
from models.types import Media

# Label Studio's own templates have some kilobytes, interfaces with thousands of labels some hundred.
_LONGEST = 4 << 20  # characters
_MOST_TAGS = 50_000
_DEEPEST = 100

_MEDIA: Mapping[str, Media] = {"Image": "image", "Audio": "audio", "AudioPlus": "audio", "Text": "text"}
_NO_CONTROLS = frozenset({"Filter"})
_LABELS = frozenset({"Label", "Choice"})
_FIELD = re.compile(r"\$([^, ]+)")  # as label_studio_sdk's ObjectTag.value_is_variable has it
_TRUE = "true"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelTag:
    """One label that a control offers.

    ``value`` is shown; ``alias``, where there is one, is what annotations say instead. ``predicted_values`` names the
    labels of models that mean it, as HumanSignal/label-studio-ml-backend has it.
    """

    value: str
    alias: str | None = None
    predicted_values: tuple[str, ...] = ()

    @property
    def written(self) -> str:
        """The label as it stands in annotations and predictions."""
        return self.alias or self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What is labelled: ``<Image name="img" value="$image_url"/>`` has the name "img" and the field "image_url".

    ``media`` is None for a tag that none of our tasks reads, and ``field`` where the value is no single field.
    """

    name: str
    tag: str
    attributes: Mapping[str, str]
    media: Media | None
    field: str | None

    @property
    def holds_address(self) -> bool:
        """Whether the field of a text names where it lies (``valueType="url"``)."""
        return self.attributes.get("valueType", "text").lower() == "url"


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """What labels it. ``kind`` is the type of its regions; ``to_name`` are the sources that it belongs to."""

    name: str
    tag: str
    to_name: tuple[str, ...]
    labels: tuple[LabelTag, ...] = ()
    attributes: Mapping[str, str]

    @property
    def kind(self) -> str:
        return self.tag.lower()

    @property
    def is_smart(self) -> bool:
        """Whether its tools ask the model while someone labels."""
        return _TRUE in (self.attributes.get("smart"), self.attributes.get("smartOnly"))

    @property
    def is_multiple(self) -> bool:
        """Whether several of its choices may hold at once."""
        return self.attributes.get("choice") == "multiple"

    @property
    def is_per_region(self) -> bool:
        return self.attributes.get("perRegion") == _TRUE

    @property
    def is_nested(self) -> bool:
        """Whether a choice is a path through choices in choices."""
        return self.attributes.get("allowNested") == _TRUE

    @property
    def is_dynamic(self) -> bool:
        """Whether each task brings its own labels (``value="$labels"``)."""
        return not self.labels and self.attributes.get("value", "").startswith("$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """What a project shows and what it takes, in the order of the document."""

    sources: tuple[Source, ...]
    controls: tuple[Control, ...]

    def controls_of(self, source: Source) -> tuple[Control, ...]:
        return tuple(control for control in self.controls if source.name in control.to_name)


def read_interface(config: str) -> Interface:
    """The interface that a project's ``label_config`` stands for.

    What is a source, a control or a label, and what a label is called, is told as label_studio_sdk 2.1.2 tells it
    (label_interface/interface.py, ``parse``), because its validation decides which predictions are kept. Tags that we
    do not know are read, too, so that it can be said what is not served. Declarations of a document type, and with
    them entities of its own, are refused.

    Raises:
        ConfigError: bad_label_config: it is no XML, too large, or nothing is to be labelled by it.
    """
    if len(config) > _LONGEST:
        raise _bad(f"it has {len(config)} characters, wanted at most {_LONGEST}")
    found = _Reading()
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = found.start
    parser.EndElementHandler = found.end
    parser.StartDoctypeDeclHandler = _refused
    parser.EntityDeclHandler = _refused
    try:
        parser.Parse(config.encode(), True)
    except expat.ExpatError as err:
        raise _bad(f"it is no XML ({expat.ErrorString(err.code)}, line {err.lineno}, column {err.offset})") from err
    except UnicodeEncodeError as err:
        raise _bad(f"it holds a lone surrogate at character {err.start}") from err
    interface = found.interface()
    if not interface.sources:
        raise _bad('it shows nothing; add what is to be labelled, such as <Image name="image" value="$image"/>')
    if not interface.controls:
        raise _bad('it takes no labels; add a control, such as <Labels name="label" toName="text">')
    return interface


class _Reading:
    """Notes the tags as they come; a label belongs to the innermost control around it."""

    def __init__(self) -> None:
        self._sources = dict[str, Source]()
        self._controls = dict[str, Mapping[str, str]]()
        self._tags = dict[str, str]()
        self._labels = dict[str, dict[str, LabelTag]]()
        self._around = list[str | None]()  # for each open tag the control that it is
        self._count = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > _MOST_TAGS or len(self._around) >= _DEEPEST:
            raise _bad(f"it has more than {_MOST_TAGS} tags, or more than {_DEEPEST} in each other")
        name, is_control = attributes.get("name", ""), False
        if name and attributes.get("toName") and tag not in _NO_CONTROLS:
            self._controls[name], self._tags[name], is_control = attributes, tag, True
            self._labels[name] = {}
        elif name and (attributes.get("value") or attributes.get("valueList")):
            self._sources[name] = _source(tag, name, attributes)
        elif tag in _LABELS:
            self._label(attributes)
        self._around.append(name if is_control else None)

    def end(self, _: str) -> None:
        self._around.pop()

    def _label(self, attributes: Mapping[str, str]) -> None:
        control = next((name for name in reversed(self._around) if name is not None), None)
        value = attributes.get("value") or attributes.get("alias")
        if control is None or not value:
            return
        predicted = (one.strip() for one in attributes.get("predicted_values", "").split(","))
        label = LabelTag(
            value=value, alias=attributes.get("alias") or None, predicted_values=tuple(one for one in predicted if one)
        )
        self._labels[control].setdefault(label.written, label)

    def interface(self) -> Interface:
        controls = (
            Control(
                name=name,
                tag=self._tags[name],
                to_name=tuple(attributes["toName"].split(",")),
                labels=tuple(self._labels[name].values()),
                attributes=attributes,
            )
            for name, attributes in self._controls.items()
        )
        return Interface(sources=tuple(self._sources.values()), controls=tuple(controls))


def _source(tag: str, name: str, attributes: Mapping[str, str]) -> Source:
    value = _FIELD.fullmatch(attributes.get("value", ""))
    is_list = bool(attributes.get("valueList"))
    return Source(
        name=name,
        tag=tag,
        field=value[1] if value and not is_list else None,
        media=_MEDIA.get(tag),
        attributes=attributes,
    )


def _refused(*_: Any) -> None:
    raise _bad("it declares a document type, which a labelling interface has no use for; take <!DOCTYPE …> out")


def _bad(why: str) -> ConfigError:
    return ConfigError(f"the labelling interface cannot be read: {why}", code="bad_label_config")
