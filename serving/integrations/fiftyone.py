"""Labels the images of a FiftyOne dataset, each with what became of it.

Reference: fiftyone/core/models.py (Model, apply_model) and fiftyone/core/labels.py, fiftyone 1.22. FiftyOne is the
caller's; the service does not depend on it. What this module needs beside it is httpx, anyio, pydantic, orjson and
pycocotools.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from models.errors import ConfigError
from models.types import Item, Task
from pipelines.formats.fiftyone import TASKS, labels_of_sample
from pipelines.formats.results import Result
from pipelines.prelabel import Request
from pipelines.types import Failure
from serving.client import Client, Tally
from serving.client.tally import Progress

# Neither a sample nor a label of FiftyOne's has a type here, where it need not be installed.
Sample = Any
Labels = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """Which fields of a sample say what, beside the one that FiftyOne or the caller names for the labels.

    With the prefix "prelabel": ``prelabel_status`` (labels, nothing_found, failed, hidden), ``prelabel_error`` (the
    failure's code), ``prelabel_error_message``, ``prelabel_route``, ``prelabel_confidence``, and for each named
    uncertainty a number, as ``prelabel_least_confidence``. Polygons and labels of the whole image, which are no
    detections, are in ``prelabel_polygons`` and ``prelabel_labels``. A field without a value is None: of an earlier
    call, nothing stays. What a person is to label from nothing is hidden: nothing else is said of it, and it has no
    labels.
    """

    prefix: str = "prelabel"

    def of(self, result: Result, *, found: Mapping[str, Labels]) -> dict[str, object]:
        named: dict[str, object] = {
            "status": result.status,
            "error": result.error.code if result.error else None,
            "error_message": result.error.message if result.error else None,
            "route": result.decision.route if result.decision else None,
            "confidence": result.confidence,
            **{name.replace(".", "_"): value for name, value in result.uncertainty.items()},
            "polygons": found.get("Polylines"),
            "labels": found.get("Classifications"),
        }
        if result.is_hidden:
            named = {name: "hidden" if name == "status" else None for name in named}
        return {f"{self.prefix}_{name}": value for name, value in named.items()}


def pre_label(
    samples: Any,
    client: Client,
    *,
    task: Task,
    label_field: str,
    labels: Sequence[str] = (),
    run: str | None = None,
    fields: Fields | None = None,
    progress: Progress | None = None,
) -> Tally:
    """Label the images of a dataset or a view, in batches; every sample has what came of it, whatever came of others.

    Samples are saved as their results come. Again with the same ``run``, the service keeps what it has stored first.

    Args:
        samples: a FiftyOne Dataset or DatasetView of images.
        label_field: where ``Detections`` are written, with masks where there are any; untouched if an item failed.
        labels: keeps only annotations with these.
        progress: is told after each sample what has come so far.

    Raises:
        ConfigError: the task has no labels that FiftyOne can hold, or these are no images.
        PrelabelError: the service cannot be asked; the samples until there are saved.
    """
    check(task)
    if samples.media_type not in ("image", None):  # an empty dataset has none
        raise ConfigError(f"the samples are {samples.media_type}; give a dataset or a view of images")
    fields, sent, tally = fields or Fields(), deque[tuple[Sample, Result | None]](), Tally()
    known = frozenset(samples.get_field_schema())
    view = samples.select_fields([name for name in known if name.startswith(f"{fields.prefix}_")])
    results = client.stream(_requests(view, sent, task=task), labels=labels, run=run)
    with view.save_context() as context:
        for sample, result in _pairs(results, sent):
            _write(sample, result, label_field=label_field, fields=fields, known=known)
            context.save(sample)
            tally = tally.plus(result)
            if progress is not None:
                progress(tally)
    return tally


def _requests(samples: Iterable[Sample], sent: deque[tuple[Sample, Result | None]], *, task: Task) -> Iterator[Request]:
    """What is sent, and in ``sent`` every sample in its order, with its result where its file cannot be read."""
    for sample in samples:
        request = request_of(sample.filepath, task=task, item_id=sample.id)
        if isinstance(request, Result):
            sent.append((sample, request))
        else:
            sent.append((sample, None))
            yield request


def _pairs(results: Iterator[Result], sent: deque[tuple[Sample, Result | None]]) -> Iterator[tuple[Sample, Result]]:
    def unsent() -> Iterator[tuple[Sample, Result]]:
        while sent and sent[0][1] is not None:
            yield sent[0][0], sent.popleft()[1]  # pyright: ignore[reportReturnType]

    for result in results:
        yield from unsent()
        yield sent.popleft()[0], result
    yield from unsent()


def request_of(filepath: str, *, task: Task, item_id: str) -> Request | Result:
    """The file's own bytes: nothing is decoded here, and equal files stay equal."""
    try:
        data = Path(filepath).read_bytes()
    except OSError as err:
        message = f"cannot read {filepath}: {err.strerror or type(err).__name__}; is it still there?"
        return Result(id=item_id, task=task, status="failed", error=Failure(code="not_found", message=message))
    return Request(item=Item(id=item_id, media="image", data=data), task=task)


def _write(sample: Sample, result: Result, *, label_field: str, fields: Fields, known: Set[str]) -> None:
    found = label_lists(result)
    if result.status != "failed":
        sample[label_field] = found["Detections"]
    mark(sample, fields.of(result, found=found), known=known)


def mark(sample: Sample, values: Mapping[str, object], *, known: Set[str]) -> None:
    """Set the fields, and clear those without a value, where an earlier call may have left one.

    A field that the sample's view hides can only be cleared in the sample itself.

    Args:
        known: the fields of the sample's dataset.
    """
    hidden = [name for name, value in values.items() if value is None and name in known - set(sample.field_names)]
    for name, value in values.items():
        if value is not None or (name in known and name not in hidden):
            sample[name] = value
    if hidden:
        whole = sample.dataset[sample.id]
        for name in hidden:
            whole[name] = None
        whole.save()


def label_lists(result: Result) -> dict[str, Labels]:
    """The result's labels as FiftyOne's own; a list of detections always, of other kinds where there are any.

    What is hidden has no labels, and the empty list takes away those of an earlier call.
    """
    classes = library("fiftyone.core.labels")
    of_kind: dict[str, list[Labels]] = {"Detections": []}
    for kind, label in () if result.is_hidden else labels_of_sample(result, Counter()):
        of_kind.setdefault(kind, []).append(getattr(classes, kind.removesuffix("s"))(**label))
    return {kind: getattr(classes, kind)(**{kind.lower(): found}) for kind, found in of_kind.items()}


def check(task: Task) -> None:
    if task not in TASKS:
        raise ConfigError(f"task '{task}' has no labels of images; FiftyOne takes {', '.join(sorted(TASKS))}")


def library(module: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as err:
        raise ConfigError(f"there is no {err.name} here; install fiftyone beside prelabel's client") from err
