"""Names what a labeling project knows: its classes, what they are called elsewhere, which exclude each other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    TypeAdapter,
)

from models.errors import ConfigError
from models.types import AttributeValue, Task
from pipelines.ontology.problems import problems


def _trimmed(name: str) -> str:
    if not name or name != name.strip():
        raise ValueError("a name must not be empty, nor begin or end in white space")
    return name


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Name = Annotated[str, AfterValidator(_trimmed)]
Kind = Literal["text", "number", "integer", "boolean"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """What an attribute of a class may be: one of ``values``, or anything of a ``type``."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    values: tuple[str | StrictBool | StrictInt | StrictFloat, ...] = ()
    type: Kind | None = None

    def __post_init__(self) -> None:
        if bool(self.values) == (self.type is not None):
            raise ValueError("an attribute has either values, or a type: text, number, integer, boolean")

    def problem(self, value: AttributeValue) -> str | None:
        """What is wrong with a value, or None."""
        if self.type is not None:
            return None if self.type in _kinds(value) else f"must be of type {self.type}; got {value!r}"
        if any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in self.values):
            return None
        return f"must be one of {', '.join(map(repr, self.values))}; got {value!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Class:
    """A class of a project.

    Attributes:
        name: the label of its annotations.
        id: for formats that number their classes.
        colour: "#rrggbb".
        parent: the class that this one is a kind of.
        attributes: what its annotations may say, besides what its ancestors allow. Where neither says anything about
            that (None), everything is allowed.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: Name
    id: Annotated[int, Field(ge=0, strict=True)] | None = None
    colour: Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$")] | None = None
    parent: Name | None = None
    description: str = ""
    attributes: dict[Name, Attribute] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """Labels of models that mean a class; for one model or one task only, where these are given."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    labels: Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(_listed)]
    to: Name
    model: Name | None = None
    task: Task | None = None


@dataclass(frozen=True, kw_only=True)
class Ontology:
    """The classes of a project, and how the labels of models become one of them.

    Attributes:
        classes: every class. A label that is a class's name means that class.
        aliases: what else means a class. Of several that fit a label, one for the model and the task goes before one
            for the model, that before one for the task, that before one for all, and all before the class of that name.
        exclusive: groups of classes of which one thing is at most one, each with all of its descendants.
        abstain: the class of what belongs to no other.
        unmapped: what becomes of a label that means no class. ``keep`` leaves it as it is and marks it by the attribute
            "unmapped"; ``abstain`` turns it into the abstain class, marks it as well and keeps the label in the
            attribute "model_label"; ``drop`` removes the annotation. It is counted in any case.

    Raises:
        ConfigError: with everything that contradicts itself (see pipelines/ontology/problems.py).
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    classes: tuple[Class, ...]
    aliases: tuple[Alias, ...] = ()
    exclusive: tuple[tuple[Name, ...], ...] = ()
    abstain: Name | None = None
    unmapped: Literal["keep", "abstain", "drop"] = "keep"

    def __post_init__(self) -> None:
        if found := list(problems(self)):
            raise ConfigError("; ".join(found))

    def class_of(self, label: str, *, task: Task, models: Sequence[str] = ()) -> str | None:
        """The name of the class that a label means, or None.

        Args:
            models: those that made the prediction; the aliases of the first go before those of the next.
        """
        scopes = [(model, of) for model in (*models, None) for of in (task, None)]
        targets = (self._targets.get((label, model, of)) for model, of in scopes)
        return next((name for name in targets if name is not None), label if label in self._by_name else None)

    def has(self, name: str) -> bool:
        return name in self._by_name

    def in_order(self, labels: Iterable[str]) -> list[str]:
        """Every class as listed, whether it is among the labels or not, then the labels that are none, by alphabet."""
        return [*self._by_name, *sorted({label for label in labels if not self.has(label)})]

    def ancestors(self, name: str) -> tuple[str, ...]:
        """The class's parent, the parent's parent, and so on."""
        parent = self._by_name[name].parent
        return () if parent is None else (parent, *self.ancestors(parent))

    def attributes(self, name: str) -> Mapping[str, Attribute] | None:
        """What annotations of a class may say, its own word before that of its ancestors; None for anything."""
        said = [self._by_name[own].attributes for own in (*reversed(self.ancestors(name)), name)]
        laid_down = [attributes for attributes in said if attributes is not None]
        return {key: value for attributes in laid_down for key, value in attributes.items()} if laid_down else None

    def exclusions(self) -> tuple[dict[str, str], ...]:
        """For each exclusive group: class → the member that it is or descends from, as ``sanity.check`` takes it."""
        lineages = {own.name: (own.name, *self.ancestors(own.name)) for own in self.classes}
        return tuple(
            {name: member for name, lineage in lineages.items() for member in group if member in lineage}
            for group in self.exclusive
        )

    def digest(self) -> str:
        """sha256 in hex of what the ontology says.

        Comments and the order of aliases and groups leave it alone. The order of classes does not: formats number them
        by it.
        """
        content = _ONTOLOGY.dump_python(self, mode="json")
        content["aliases"] = sorted(json.dumps([*key, name]) for key, name in self._targets.items())
        content["exclusive"] = sorted(sorted(group) for group in self.exclusive)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @cached_property
    def _by_name(self) -> dict[str, Class]:
        return {own.name: own for own in self.classes}

    @cached_property
    def _targets(self) -> dict[tuple[str, str | None, str | None], str]:
        """(label, model, task) → class."""
        return {(label, alias.model, alias.task): alias.to for alias in self.aliases for label in alias.labels}


_ONTOLOGY = TypeAdapter(Ontology)


def _kinds(value: AttributeValue) -> tuple[Kind, ...]:
    match value:
        case bool():
            return ("boolean",)
        case int():
            return ("integer", "number")
        case float():
            return ("number",)
        case str():
            return ("text",)
