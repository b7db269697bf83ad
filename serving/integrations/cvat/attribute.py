"""Holds an attribute of a CVAT label, and writes values as it takes them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from models.types import AttributeValue

InputType = Literal["checkbox", "number", "radio", "select", "text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """What a label's shapes carry beside their geometry.

    ``values`` are the choices of radio and select, and [least, most, step] of a number; checkbox and text have none.
    """

    id: int
    name: str
    input_type: InputType = "text"
    values: tuple[str, ...] = ()

    def written(self, value: AttributeValue) -> str | None:
        """The value as CVAT wants it; None where the attribute does not take it.

        Source of the rules: cvat_sdk/attributes.py, attribute_value_validator.
        """
        match self.input_type:
            case "checkbox":
                return _boolean(value)
            case "number":
                return _number(value, self.values)
            case "radio" | "select":
                return _text(value) if _text(value) in self.values else None
            case "text":
                return _text(value)


def read_attribute(attribute: Mapping[str, Any]) -> Attribute:
    """An attribute as CVAT's REST API has it."""
    return Attribute(
        id=int(attribute.get("id", 0)),
        name=str(attribute["name"]),
        input_type=cast(InputType, attribute.get("input_type", "text")),
        values=tuple(map(str, attribute.get("values") or ())),
    )


def _boolean(value: AttributeValue) -> str | None:
    text = str(value).lower()
    return text if text in ("true", "false") else None


def _number(value: AttributeValue, values: tuple[str, ...]) -> str | None:
    """CVAT's numbers are whole."""
    try:
        number, (least, most, step) = float(value), map(int, values)
    except ValueError:
        return None
    if isinstance(value, bool) or not math.isfinite(number) or number != int(number):
        return None
    is_on_grid = least <= number <= most and (int(number) - least) % step == 0
    return str(int(number)) if is_on_grid else None


def _text(value: AttributeValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
