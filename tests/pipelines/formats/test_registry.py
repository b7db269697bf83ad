"""Tests that every format can be named, and takes what every task gives."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import pytest

from models.errors import ConfigError
from models.types import MEDIA_OF_TASK, Geometry, Item, Mask, Task, TextSpan, TimeSpan
from pipelines.formats.exported import Exported
from pipelines.formats.registry import FORMATS, format_named
from tests.pipelines.formats.builders import a_failure, a_result, an_annotation

GEOMETRIES: dict[Task, Geometry | None] = {
    "detection": None,
    "segmentation": Mask(size_hw=(2, 2), counts="04"),
    "ner": TextSpan(start=0, end=3),
    "speech": TimeSpan(start_s=0.0, end_s=1.0),
}


def entries(task: Task) -> list[Exported]:
    labelled = a_result("one", an_annotation(geometry=GEOMETRIES[task], text="Ada"), task=task)
    found = [labelled, a_result("two", task=task), a_failure("three", task=task)]
    text = "Ada" if task == "ner" else None
    return [Exported(result=r, item=Item(id=r.id, media=MEDIA_OF_TASK[task], uri=f"/{r.id}"), text=text) for r in found]


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "spacy" or find_spec("spacy")])
def test_every_format_writes_what_its_tasks_give(name: str, tmp_path: Path) -> None:
    chosen = format_named(name)

    for task in chosen.TASKS:
        (tmp_path / task).mkdir()
        chosen.write(iter(entries(task)), labels=["circle"], out=tmp_path / task)
        assert any((tmp_path / task).rglob("*"))


def test_every_task_has_formats() -> None:
    for task in get_args(Task):
        assert any(task in format_named(name).TASKS for name in FORMATS if name not in ("jsonl", "parquet"))


def test_an_unknown_format_is_refused_with_a_list() -> None:
    with pytest.raises(ConfigError, match="choose one of: brat, coco"):
        format_named("paper")
