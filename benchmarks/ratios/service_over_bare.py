"""Compares the service end to end with a bare loop over the same adapter."""

from __future__ import annotations

import asyncio
import base64
import statistics
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import soundfile
import yaml

from benchmarks import service
from benchmarks.ratio import Ratio, interleaved
from benchmarks.ratios.arms import check_equal, in_a_loop, spoken_words
from models.adapter import Adapter, load
from models.card import card_from, read_card
from models.types import Content

_DEMO = Path(__file__).parents[2] / "models" / "demo"
CARD = _DEMO / "weights" / "speech" / "card.yaml"
CLIPS = _DEMO / "drop" / "speech"

_LEAST_ITEM_MS = 50
_ITEMS_PER_CALL = 8
_CALLS_AT_ONCE = 4
_ANSWER_S = 300.0


def measure(*, quick: bool) -> Ratio:
    """The bare loop has as many compute threads as the service's one replica: one."""
    contents = recordings(32 if quick else 64)
    adapter = load(card_from(card(), folder=CARD.parent), CARD.parent)
    with service.running(configuration()) as address:
        return _checked(compare(address, adapter, contents, rounds=3 if quick else 7))


def card() -> dict[str, Any]:
    """The demo's speech card with windows of 30 s, as every published Whisper has them: an item takes 150 ms."""
    content = yaml.safe_load(CARD.read_text(encoding="utf-8"))
    return {**content, "weights": str(CARD.parent), "options": {**content["options"], "shortest_window_s": 30}}


def configuration() -> dict[str, object]:
    """A service of this model alone."""
    content = card()
    return {
        "models": [content],
        "tasks": {"speech": [content["name"]]},
        "policies": {"speech": {"queue": "speech", "accept_score": 0.5}},
    }


def compare(address: str, adapter: Adapter[Any, Any], contents: Sequence[Content], *, rounds: int) -> Ratio:
    """The ratio against a service at an address that runs the same card.

    It gets 4 calls of 8 items at a time and forms its own batches; the bare loop decodes, prepares, forwards and reads
    the same bytes in batches of the card's ``max_items``.
    """
    batch_size = read_card(CARD).limits.max_items
    bodies = [
        _body(contents[first : first + _ITEMS_PER_CALL], first) for first in range(0, len(contents), _ITEMS_PER_CALL)
    ]
    bare = in_a_loop(adapter, contents, batch_size=batch_size)
    words = check_equal(_answers(address, bodies), [spoken_words(p) for p in bare.predictions], what="words")
    measured = interleaved(
        lambda: len(contents) / asyncio.run(service.label_all(address, bodies, at_once=_CALLS_AT_ONCE)),
        lambda: in_a_loop(adapter, contents, batch_size=batch_size).items_per_s,
        rounds=rounds,
        warm_up=0,  # the comparison of the words has warmed up both arms
    )
    return Ratio(
        name="service_over_bare",
        ours="service end to end",
        peer="bare adapter loop",
        unit="items/s",
        rounds=measured,
        bar=0.90,
        aim=0.97,
        details={
            "items": len(contents),
            "item_ms": round(1000 / statistics.median(measured.peer)),
            "items_per_call": _ITEMS_PER_CALL,
            "calls_at_once": _CALLS_AT_ONCE,
            "batch_size": batch_size,
            "compute_threads": 1,
            "same": f"all {words} words equal",
        },
    )


def recordings(count: int) -> list[Content]:
    """Different recordings as FLAC: the sample drop's clips, each a little louder or softer than the last."""
    clips = [soundfile.read(file, dtype="float32") for file in sorted(CLIPS.glob("clean_*"))]
    rng = np.random.default_rng(0)
    return [Content(media="audio", data=_flac(*clips[i % len(clips)], rng.uniform(0.7, 0.95))) for i in range(count)]


def _flac(samples: np.ndarray, rate_hz: int, gain: float) -> bytes:
    file = BytesIO()
    soundfile.write(file, samples * gain, rate_hz, format="FLAC")
    return file.getvalue()


def _body(contents: Sequence[Content], first: int) -> bytes:
    items = [
        {"id": str(first + n), "task": "speech", "data": base64.b64encode(content.data).decode()}
        for n, content in enumerate(contents)
    ]
    return orjson.dumps({"items": items})


def _answers(address: str, bodies: Sequence[bytes]) -> list[list[str]]:
    """The words that the service hears in each item."""
    headers = {"Content-Type": "application/json"}
    with httpx.Client(base_url=address, headers=headers, timeout=_ANSWER_S, trust_env=False) as client:
        answers = [client.post("/v1/prelabel", content=body).raise_for_status().json() for body in bodies]
    results = [result for answer in answers for result in answer["results"]]
    return [[found["text"] for found in result["annotations"] if found["label"] == "word"] for result in results]


def _checked(ratio: Ratio) -> Ratio:
    if (item_ms := float(ratio.details["item_ms"])) < _LEAST_ITEM_MS:
        raise RuntimeError(f"an item takes {item_ms} ms alone; this comparison is for {_LEAST_ITEM_MS} ms and more")
    return ratio
