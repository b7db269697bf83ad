"""Configures the service that is measured: the demo's NER model, and otherwise what the service does by default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

_NER = Path(__file__).parents[2] / "models" / "demo" / "weights" / "ner"
_POLICY = {"queue": "texts", "accept_score": 0.8, "accept_no_miss": 0.7, "accept_nothing_found": 0.9}


def configuration(*, answer_s: float | None = None) -> dict[str, Any]:
    """A configuration file's content.

    Args:
        answer_s: how long a call to ``/predict`` may take, if not as long as by default.
    """
    card = yaml.safe_load((_NER / "card.yaml").read_text(encoding="utf-8")) | {"weights": str(_NER)}
    return {
        "models": [card],
        "tasks": {"ner": [card["name"]]},
        "policies": {"ner": _POLICY},
        "server": {"ingress": "proxy"},
        "label_studio": {} if answer_s is None else {"answer_s": answer_s},
    }
