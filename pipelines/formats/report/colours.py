"""Gives every label of a report one colour, and an ink that stays legible on it."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable
from dataclasses import dataclass

_FIRST = (
    "#2563eb",
    "#db2777",
    "#0d9488",
    "#ea580c",
    "#7c3aed",
    "#65a30d",
    "#0891b2",
    "#dc2626",
    "#a16207",
    "#c026d3",
    "#ca8a04",
    "#475569",
)
_GOLDEN_RATIO = 0.618034


@dataclass(frozen=True, slots=True, kw_only=True)
class Colour:
    """A label's colour and the ink to write on it, as #rrggbb."""

    fill: str
    ink: str


def colours(labels: Iterable[str]) -> dict[str, Colour]:
    """One colour for each label, the same for the same set of labels."""
    return {label: _colour(place) for place, label in enumerate(sorted(set(labels)))}


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, 1 to 21 (WCAG 2.2, "contrast ratio")."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _colour(place: int) -> Colour:
    fill = _FIRST[place] if place < len(_FIRST) else _spread(place)
    return Colour(fill=fill, ink=max("#ffffff", "#0b0b0c", key=lambda ink: contrast(fill, ink)))


def _spread(place: int) -> str:
    """Hues that stay apart however many there are."""
    channels = colorsys.hls_to_rgb(place * _GOLDEN_RATIO % 1.0, 0.42, 0.6)
    return "#" + "".join(f"{round(channel * 255):02x}" for channel in channels)


def _luminance(colour: str) -> float:
    channels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
