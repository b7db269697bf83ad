"""Lays out a drop, and the configuration of the one model that labels it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from benchmarks import random_tagger
from benchmarks.ratios import engine_over_bare, service_over_bare
from models.types import Content, Task

_DEMO = Path(__file__).parents[2] / "models" / "demo"
_IMAGE_SIDE_PX = 1_024
_DIFFERENT_IMAGES = 64
_START, _COMMENT = b"\xff\xd8", b"\xff\xfe"  # markers of a JPEG file


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is to be labelled. Everything lies in one folder, which no process of another measurement knows.

    Attributes:
        drop: a folder of files, or a manifest.
        items: how many it holds.
    """

    folder: Path
    task: Task
    drop: Path
    items: int

    @property
    def config(self) -> Path:
        return self.folder / "prelabel.yaml"


@contextmanager
def a_folder() -> Iterator[Path]:
    """A folder of one measurement alone, gone afterwards; its path is short, as it holds sockets."""
    with TemporaryDirectory(prefix="pld", dir="/tmp") as name:
        yield Path(name)


def recordings(folder: Path, items: int) -> Work:
    """Different recordings for the demo's speech network with windows of 30 s, as every published Whisper has them."""
    _configure(folder, service_over_bare.configuration())
    return _files(folder, "speech", service_over_bare.recordings(items), suffix="flac")


def images(folder: Path, items: int) -> Work:
    """JPEGs of a megapixel for the demo's detector.

    There are 64 different ones; the others have the pixels of these and a comment of their own, so that no two files
    are equal and each is computed.
    """
    card = _card(_DEMO / "weights" / "detection" / "card.yaml")
    policy = {"queue": "images", "accept_score": 0.6, "accept_no_miss": 0.6, "accept_nothing_found": 0.95}
    _configure(folder, _configuration(card, policy))
    different = engine_over_bare.images(min(items, _DIFFERENT_IMAGES), side=_IMAGE_SIDE_PX)
    numbered = (_commented(different[number % len(different)], number) for number in range(items))
    return _files(folder, "detection", numbered, suffix="jpg")


def texts(folder: Path, items: int) -> Work:
    """A manifest of short texts, no two equal, for a real tagger so small that it is as quick as a stub."""
    random_tagger.write(folder / "tagger", layers=1, hidden=64, most_tokens=_TOKENS)
    card = {
        "name": "tiny-tagger",
        "task": "ner",
        "adapter": "token_classification",
        "weights": str(folder / "tagger"),
        "limits": {"max_items": 32, "max_cost": 8192},
        "options": {"window_tokens": _TOKENS, "stride_tokens": 8},
    }
    policy = {"queue": "texts", "accept_score": 0.1, "accept_no_miss": 0.0, "accept_nothing_found": 0.0}
    _configure(folder, _configuration(card, policy))
    drop = folder / "texts.jsonl"
    with drop.open("w", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(row)}\n" for row in islice(_rows(), items))
    return Work(folder=folder, task="ner", drop=drop, items=items)


_TOKENS = 64
_NAMES = ("Ada Varga", "Simon Zougton", "Mira Okafor", "Jonas Lindt", "Noor Haddad", "Pavel Brandt", "Ines Moreau")
_PLACES = ("Lisbon", "Turku", "Graz", "Arezzo", "Utrecht", "Porto", "Leuven", "Bergen", "Cork", "Gdynia", "Brno")


def _rows() -> Iterator[dict[str, str]]:
    number = 0
    while True:
        name, place = _NAMES[number % len(_NAMES)], _PLACES[number % len(_PLACES)]
        yield {"id": f"t{number:07}", "text": f"{name} sent letter {number} from {place}."}
        number += 1


def _files(folder: Path, task: Task, contents: Iterable[Content], *, suffix: str) -> Work:
    drop, items = folder / "drop", 0
    drop.mkdir()
    for items, content in enumerate(contents, start=1):
        (drop / f"{items:06}.{suffix}").write_bytes(content.data)
    return Work(folder=folder, task=task, drop=drop, items=items)


def _commented(jpeg: Content, number: int) -> Content:
    text = f"number {number}".encode()
    comment = _COMMENT + (2 + len(text)).to_bytes(2, "big") + text
    return Content(media="image", data=_START + comment + jpeg.data.removeprefix(_START))


def _card(file: Path) -> dict[str, Any]:
    return {**yaml.safe_load(file.read_text(encoding="utf-8")), "weights": str(file.parent)}


def _configuration(card: Mapping[str, Any], policy: Mapping[str, Any]) -> dict[str, object]:
    return {"models": [card], "tasks": {card["task"]: [card["name"]]}, "policies": {card["task"]: policy}}


def _configure(folder: Path, configuration: Mapping[str, object]) -> None:
    (folder / "prelabel.yaml").write_text(yaml.safe_dump(dict(configuration)), encoding="utf-8")
