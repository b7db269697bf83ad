"""Gives the outline of every shape that the drawn scenes are made of, as a polygon around the origin."""

from __future__ import annotations

import numpy as np

KNOWN_SHAPES = ("circle", "crescent", "cross", "square", "star", "triangle")
UNKNOWN_SHAPES = ("arrow", "heart", "letter")

# Letters on a 3 × 5 grid (x to the right, y down), one ring each.
_LETTERS = (
    ((0, 0), (3, 0), (3, 1), (1, 1), (1, 2), (3, 2), (3, 3), (1, 3), (1, 5), (0, 5)),  # F
    ((0, 0), (1, 0), (1, 2), (2, 2), (2, 0), (3, 0), (3, 5), (2, 5), (2, 3), (1, 3), (1, 5), (0, 5)),  # H
    ((0, 0), (1, 0), (1, 4), (3, 4), (3, 5), (0, 5)),  # L
    ((0, 0), (3, 0), (3, 1), (2, 1), (2, 5), (1, 5), (1, 1), (0, 1)),  # T
)


def outline(shape: str, rng: np.random.Generator) -> np.ndarray:
    """The ring of one shape, upright, centred and at most 1 from the origin.

    Args:
        shape: one of KNOWN_SHAPES or UNKNOWN_SHAPES.
        rng: draws the proportions.

    Returns:
        (n, 2) float64, x to the right, y down.
    """
    match shape:
        case "circle":
            return _arc(0.0, 2.0 * np.pi)
        case "square":
            return _polar(np.array([1.0] * 4), first_angle=np.pi / 4)
        case "triangle":
            return _polar(np.array([1.0] * 3))
        case "star":
            return _polar(np.tile([1.0, rng.uniform(0.4, 0.48)], 5))
        case "cross":
            return _cross(rng.uniform(0.26, 0.36))
        case "crescent":
            return _crescent(rng.uniform(0.45, 0.6))
        case "heart":
            return _heart()
        case "arrow":
            return _arrow(rng.uniform(0.18, 0.3))
        case _:
            ring = np.array(_LETTERS[rng.integers(len(_LETTERS))], dtype=np.float64) - (1.5, 2.5)
            return ring / np.hypot(1.5, 2.5)


def _arc(start: float, stop: float) -> np.ndarray:
    angles = np.linspace(start, stop, 48)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _polar(radii: np.ndarray, first_angle: float = -np.pi / 2) -> np.ndarray:
    angles = first_angle + np.arange(len(radii)) * 2.0 * np.pi / len(radii)
    return radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _cross(half_width: float) -> np.ndarray:
    quarter = np.array([(half_width, -half_width), (half_width, -0.95), (-half_width, -0.95)])
    turns = [quarter @ np.array([(np.cos(a), -np.sin(a)), (np.sin(a), np.cos(a))]) for a in np.arange(4) * np.pi / 2]
    return np.concatenate(turns)


def _crescent(shift: float) -> np.ndarray:
    """The unit disc without a disc of radius 0.85 whose centre lies ``shift`` to its right."""
    crossing_x = (1.0 + shift**2 - 0.85**2) / (2.0 * shift)
    crossing_y = np.sqrt(1.0 - crossing_x**2)
    outer = np.arctan2(crossing_y, crossing_x)
    inner = np.arctan2(crossing_y, crossing_x - shift)
    hollow = _arc(-inner, inner - 2.0 * np.pi) * 0.85 + (shift, 0.0)
    return np.concatenate([_arc(outer, 2.0 * np.pi - outer), hollow])


def _heart() -> np.ndarray:
    t = np.linspace(0.0, 2.0 * np.pi, 60)
    x = 16.0 * np.sin(t) ** 3
    y = -(13.0 * np.cos(t) - 5.0 * np.cos(2 * t) - 2.0 * np.cos(3 * t) - np.cos(4 * t))
    return np.stack([x, y], axis=1) / 17.0


def _arrow(half_width: float) -> np.ndarray:
    upper = np.array([(-1.0, -half_width), (0.1, -half_width), (0.1, -0.65), (1.0, 0.0)])
    lower = upper[-2::-1] * (1.0, -1.0)
    return np.concatenate([upper, lower])
