"""Writes results as Label Studio tasks that carry predictions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

from models.types import MEDIA_OF_TASK, Item, Task
from pipelines.formats.addresses import local_path
from pipelines.formats.characters import clean, labels_of, name_of, to_bytes
from pipelines.formats.exported import Exported, LeftOut, certainty, labelled, objects
from pipelines.formats.label_studio.config import label_config
from pipelines.formats.label_studio.regions import regions
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

    A region's ``score`` is its certainty and ``meta.score_kind`` says which it is. A prediction's ``score``, which
    orders the labelling stream, is the confidence in the whole item if there is one, else the certainty of its
    weakest label, and null where nothing was found: such an item is not the least certain one. ``data`` also has the
    item's ``item_id`` and ``route``, to filter by.

    Files on this machine are referred to as Label Studio's local files, as if its document root were "/"; other
    addresses stay. NUL and lone surrogates become U+FFFD. A text that is not known any more cannot be a task.
    """
    left_out = LeftOut()
    used = dict[Task, Used]()
    with ExitStack() as files:
        adders = dict[Task, Add]()
        for entry in labelled(entries, left_out):
            task = entry.result.task
            if task not in adders:
                (out / task).mkdir(exist_ok=True)
                adders[task], used[task] = files.enter_context(json_array(out / task / "tasks.json")), {}
            if task == "ner" and entry.text is None:
                left_out["texts that are not known any more"] += 1
            else:
                adders[task](_task(entry, used[task], left_out))
    for task, labels_by_kind in used.items():
        config = label_config(task, labels_by_kind, labels=labels_of(labels))
        (out / task / "label_config.xml").write_text(config, encoding="utf-8", newline="\n")
    return left_out


def _task(entry: Exported, used: Used, left_out: LeftOut) -> dict[str, object]:
    result = entry.result
    medium = MEDIA_OF_TASK[result.task]
    found = list(regions(entry, left_out))
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
        "predictions": [_prediction(result, [region.to_json(to_name=medium) for region in found])] if is_shown else [],
    }


def _prediction(result: Result, found: list[dict[str, object]]) -> dict[str, object]:
    made_by = result.provenance
    weakest = min((certainty(annotation)[0] for annotation, _ in objects(result)), default=None)
    return {
        "model_version": f"{made_by.model}@{made_by.model_version}" if made_by else "prelabel",
        "score": weakest if result.confidence is None else result.confidence,
        "result": found,
    }


def _address(item: Item) -> str:
    """Where Label Studio finds an image or a recording."""
    uri = item.uri or item.id
    path = local_path(uri)
    return clean(uri) if path is None else _LOCAL_FILES + quote(to_bytes(path.removeprefix("/")))
