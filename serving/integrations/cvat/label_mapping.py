"""Says which label of a task stands for which label of a function, as an annotation request maps them.

Reference: cvat_sdk 2.80, auto_annotation/driver.py, _AnnotationMapper and _SpecNameMapping.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from serving.integrations.cvat.attribute import Attribute
from serving.integrations.cvat.errors import BadAnnotationRequestError
from serving.integrations.cvat.label import ANY, Label


def mapped(
    mapping: Mapping[str, Mapping[str, Any]], *, function: Sequence[Label], task: Sequence[Label]
) -> dict[str, Label]:
    """The task's labels by the function's names for them; a label that is not in the mapping is not wanted.

    The attributes keep the task's ids and have the function's names. A label that takes any shape in the task takes
    what the function declares.

    Args:
        mapping: for each label of the function the ``name`` of one of the task, and maybe ``attributes``, from the
            function's names to the task's; without, attributes have the same names in both.

    Raises:
        BadAnnotationRequestError: it names what the task or the function has not.
    """
    ours, theirs = ({label.name: label for label in labels} for labels in (function, task))
    return {name: _mapped(name, entry, ours, theirs) for name, entry in mapping.items()}


def _mapped(name: str, entry: Mapping[str, Any], ours: Mapping[str, Label], theirs: Mapping[str, Label]) -> Label:
    if name not in ours:
        raise BadAnnotationRequestError("bad_annotation_request", f"the function has no label {name!r}")
    if (target := theirs.get(str(entry.get("name")))) is None:
        message = f"the task has no label {entry.get('name')!r}, which {name!r} is mapped to"
        raise BadAnnotationRequestError("bad_annotation_request", message)
    kind = ours[name].type if target.type == ANY else target.type
    return replace(target, type=kind, attributes=_attributes(entry.get("attributes"), target.attributes))


def _attributes(names: Mapping[str, str] | None, attributes: Sequence[Attribute]) -> tuple[Attribute, ...]:
    if names is None:
        return tuple(attributes)
    by_name = {attribute.name: attribute for attribute in attributes}
    return tuple(replace(by_name[theirs], name=ours) for ours, theirs in names.items() if theirs in by_name)
