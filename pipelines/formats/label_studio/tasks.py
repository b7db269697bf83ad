"""Writes results as Label Studio tasks that carry predictions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

from models.types import MEDIA_OF_TASK, Item, Task
from pipelines.formats.addresses import local_path
from pipelines.formats.characters import clean, labels_of, name_of, to_bytes
from pipelines.formats.exported import Exported, LeftOut, labelled
from pipelines.formats.label_studio.binding import Binding
from pipelines.formats.label_studio.config import label_config, open_binding
from pipelines.formats.label_studio.prediction import as_json, score
from pipelines.formats.label_studio.regions import Region, regions
from pipelines.formats.results import Result
from pipelines.formats.streams import Add, json_array

TASKS: frozenset[Task] = frozenset({"detection", "segmentation", "ner", "speech"})

_LOCAL_FILES = "/data/local-files/?d="

Used = dict[str, set[str]]  # the labels in use, by the type of their regions


def write(entries: Iterable[Exported], *, labels: Sequence[str], out: Path) -> LeftOut:
    """Write TASK/tasks.json, to import, and TASK/label_config.xml, to make the project from, for each task that occurs.

    Boxes and polygons are in percent of the image's sides, cut at its edges; masks are brush strokes in Label Studio's
    own encoding; spans are half-open and count Unicode code points, as its editor does ("\\r\\n" is two; observed with
    Label Studio 1.23.2); times are in seconds. A span of speech is a region with its transcription; its words are left
    out, for who corrects the one would have to correct the other. Labels of the whole item are choices.

    A region's ``score`` is its certainty and ``meta.score_kind`` says which it is; ``meta.uncertainty`` of the first
    region is the item's. A prediction's ``score``, which orders the labelling stream, is told by ``prediction.score``:
    an item in which nothing was found is not the least certain one. ``data`` also has the item's ``item_id`` and
    ``route``, to filter by.

    Files on this machine are referred to as Label Studio's local files, as if its document root were "/"; other
    addresses stay. NUL and lone surrogates become U+FFFD. A text that is not known any more cannot be a task.
    """
    left_out = LeftOut()
    used = dict[Task, Used]()
    with ExitStack() as files:
        adders, bindings = dict[Task, Add](), dict[Task, Binding]()
        for entry in labelled(entries, left_out):
            task = entry.result.task
            if task not in adders:
                (out / task).mkdir(exist_ok=True)
                adders[task], used[task] = files.enter_context(json_array(out / task / "tasks.json")), {}
                bindings[task] = open_binding(task)
            if task == "ner" and entry.text is None:
                left_out["texts that are not known any more"] += 1
            else:
                adders[task](_task(entry, bindings[task], used[task], left_out))
    for task, labels_by_kind in used.items():
        config = label_config(task, labels_by_kind, labels=labels_of(labels))
        (out / task / "label_config.xml").write_text(config, encoding="utf-8", newline="\n")
    return left_out


def _task(entry: Exported, binding: Binding, used: Used, left_out: LeftOut) -> dict[str, object]:
    result = entry.result
    medium = MEDIA_OF_TASK[result.task]
    found = list(regions(binding, result, text=entry.text, left_out=left_out))
    for region in found:
        if region.labels:
            used.setdefault(region.kind, set()).update(region.labels)
    is_shown = bool(found) or not result.annotations
    return {
        "data": {
            medium: clean(entry.text or "") if medium == "text" else _address(entry.item),
            "item_id": name_of(result.id),
            "route": result.decision.route if result.decision else None,
        },
        "predictions": [_prediction(result, found, to_name=medium)] if is_shown else [],
    }


def _prediction(result: Result, found: list[Region], *, to_name: str) -> dict[str, object]:
    made_by = result.provenance
    return {
        "model_version": f"{made_by.model}@{made_by.model_version}" if made_by else "prelabel",
        "score": score(result),
        "result": as_json(found, result, to_name=to_name),
    }


def _address(item: Item) -> str:
    """Where Label Studio finds an image or a recording."""
    uri = item.uri or item.id
    path = local_path(uri)
    return clean(uri) if path is None else _LOCAL_FILES + quote(to_bytes(path.removeprefix("/")))
