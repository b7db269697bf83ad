"""Makes the soak test's requests: small texts and images, and a share of items that nobody can label."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from itertools import cycle

import numpy as np

from benchmarks import texts
from benchmarks.scenarios.inputs import Inputs
from benchmarks.scenarios.stamp import stamped
from models.demo.drop import DROP
from models.types import Task

_TEXT, _IMAGE, _CORRUPT, _UNDEPLOYED = "text", "image", "corrupt image", "undeployed task"
_SHARES = {_TEXT: 0.85, _IMAGE: 0.05, _CORRUPT: 0.05, _UNDEPLOYED: 0.05}
_LABELLED = frozenset({"labels", "nothing_found"})
WANTED = {
    _TEXT: _LABELLED,
    _IMAGE: _LABELLED,
    _CORRUPT: frozenset({"failed: unreadable_image"}),
    _UNDEPLOYED: frozenset({"failed: unknown_task"}),
}
GOOD_SHARE = _SHARES[_TEXT] + _SHARES[_IMAGE]

Entry = dict[str, str]


def requests(n: int, *, deadline_s: float, seed: int = 0) -> list[tuple[str, str]]:
    """Kind and body of n requests of one item each, in random order; no two have the same content.

    The service shares the work of equal items in flight, and an overload of equal items would be none.
    """
    rng = np.random.default_rng(seed)
    entries = {_TEXT: _texts(n, seed), _IMAGE: _images(), _CORRUPT: _corrupt_images(), _UNDEPLOYED: _undeployed()}
    kinds = rng.choice(list(_SHARES), size=n, p=list(_SHARES.values()))
    return [(str(kind), _body(number, next(entries[str(kind)]), deadline_s)) for number, kind in enumerate(kinds)]


def _body(number: int, entry: Entry, deadline_s: float) -> str:
    return json.dumps({"items": [{"id": str(number), **entry}], "deadline_s": deadline_s})


def _texts(n: int, seed: int) -> Iterator[Entry]:
    for number, text in enumerate(cycle(texts.sentences(min(n, 400), seed=seed))):
        yield {"task": "ner", "text": stamped("text", text.encode(), number).decode()}


def _images() -> Iterator[Entry]:
    files = [file.read_bytes() for file in sorted((DROP / "detection").glob("easy_*.jpg"))]
    inputs = Inputs(media="image", what="the sample drop's easy JPEGs", files=files)
    while True:
        yield from (_data("detection", content.data) for content in inputs.take(len(files)))


def _corrupt_images() -> Iterator[Entry]:
    data, number = (DROP / "detection" / "truncated.jpg").read_bytes(), 0
    while True:
        yield _data("detection", stamped("image", data, number))
        number += 1


def _undeployed() -> Iterator[Entry]:
    number = 0
    while True:
        yield _data("speech", number.to_bytes(8, "big"))
        number += 1


def _data(task: Task, data: bytes) -> Entry:
    return {"task": task, "data": base64.b64encode(data).decode()}
