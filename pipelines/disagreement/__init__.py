"""Measures how much the answer to an item changes when it is asked again in another way: costlier signs of doubt.

Each is switched on by ``Extras`` and asks the deployed models once more. What it finds are entries of the uncertainty
vector (pipelines/tasks.py): in [0, 1], 1 means "no idea".
"""

from __future__ import annotations

from pipelines.disagreement.disagreement import Disagreement, Predicts
from pipelines.disagreement.extras import Extras, extras_of

__all__ = ["Disagreement", "Extras", "Predicts", "extras_of"]
