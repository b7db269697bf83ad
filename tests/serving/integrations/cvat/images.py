"""Draws frames: scenes that the demo's models know, each different, and a file that is no image."""

from __future__ import annotations

from functools import cache
from io import BytesIO

from PIL import Image

from models.demo.scenes import HELD_OUT_SEEDS, LABELS, scene

BAD = b"\x89PNG\r\n\x1a\nno image at all"


def frames(count: int, *, first: int = 0) -> list[tuple[str, bytes]]:
    """Files by their names."""
    seeds = HELD_OUT_SEEDS[first : first + count]
    return [(f"shelf/{number:04d}.png", _png(seed)) for number, seed in enumerate(seeds)]


def labels(kind: str = "any", *, first_id: int = 101, attributes: tuple[str, ...] = ()) -> list[dict[str, object]]:
    """The demo's labels as CVAT's REST API has them."""
    return [
        {
            "id": first_id + place,
            "name": name,
            "type": kind,
            "color": "#112233",
            "attributes": [
                {
                    "id": 1000 + 10 * place + n,
                    "name": own,
                    "input_type": "text",
                    "values": [],
                    "mutable": False,
                    "default_value": "",
                }
                for n, own in enumerate(attributes)
            ],
            "sublabels": [],
            "has_parent": False,
        }
        for place, name in enumerate(LABELS)
    ]


@cache
def _png(seed: int) -> bytes:
    file = BytesIO()
    Image.fromarray(scene(seed, "easy").image_rgb).save(file, "PNG")
    return file.getvalue()
