"""Holds what was seen of a stretch of time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Everything by slice (a source, say; one name for all if there are none); lengths may differ.

    Attributes:
        scores: (n,) floats of the routed items.
        classes: (n,) str, one per label.
        accepted: (n,) bool, whether an item was accepted without review.
        corrections: (n,) floats, how much people changed at each reviewed item.
    """

    scores: Mapping[str, np.ndarray] = field(default_factory=dict)
    classes: Mapping[str, np.ndarray] = field(default_factory=dict)
    accepted: Mapping[str, np.ndarray] = field(default_factory=dict)
    corrections: Mapping[str, np.ndarray] = field(default_factory=dict)
