"""Labels all frames of a CVAT task, many in one call, and stores the shapes in it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from models.types import Item, Task
from pipelines.formats.results import Result
from pipelines.prelabel import Request
from serving.integrations.cvat.errors import CvatError
from serving.integrations.cvat.frame import Frame, TaskFrames
from serving.integrations.cvat.label import Label
from serving.integrations.cvat.payload import Payload
from serving.integrations.cvat.server import CvatServer
from serving.integrations.cvat.shape import Shape, Wanted, shapes

_LONGEST_ID = 256  # characters of an item's id


class Streams(Protocol):
    """What labels items many at a time, lazily and in order."""

    def stream(self, requests: Iterable[Request]) -> Iterator[Result]: ...


class PreLabels(Streams, Protocol):
    """What also labels items that somebody waits for (serving/client)."""

    def pre_label(self, requests: Iterable[Request]) -> list[Result]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedFrame:
    """A frame that got no shapes, and why."""

    index: int
    name: str
    code: str
    message: str


@dataclass(slots=True, kw_only=True)
class Report:
    """What came of a task's frames.

    ``left_out`` counts, in words, objects that no shape stands for, and frames that a person is to label from nothing.
    """

    frames: int = 0
    shapes: int = 0
    tags: int = 0
    failed: list[FailedFrame] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is wanted of the frames of one task: ``labels`` are CVAT's by the names that prelabel's models use."""

    name: str
    task: Task
    labels: Mapping[str, Label]
    wanted: Wanted


def annotate_task(
    server: CvatServer,
    task_id: int,
    pre_labels: Streams,
    *,
    task: Task,
    wanted: Wanted = Wanted(),
    renamed: Mapping[str, str] | None = None,
    clear_existing: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> Report:
    """Label a CVAT task and store all its shapes at once at the end, as ``cvat-cli task auto-annotate`` does.

    Unlike there, frames go to the service many in one call, each as the file that it is, and a frame that cannot be
    had, read or labelled fails alone.

    Args:
        task: detection or segmentation; of prelabel.
        renamed: CVAT's label for a label of the models, where the names differ.
        clear_existing: remove what is annotated already; otherwise it is kept, and the shapes are added.
        progress: is told how many frames are done, and how many there are.

    Raises:
        CvatError: the task cannot be read, or the shapes not be stored.
        PrelabelError: the service does not answer.
    """
    frames, report = TaskFrames(server, task_id), Report()
    job = Job(name=f"cvat-{task_id}", task=task, labels=named(frames.labels, renamed or {}), wanted=wanted)
    payload = Payload()
    for frame, found in labelled(frames, pre_labels, job, report):
        payload.add(frame.index, found)
        if progress is not None:
            progress(report.frames, len(frames))
    store(server, task_id, payload, clear_existing=clear_existing)
    return report


def named(labels: Sequence[Label], renamed: Mapping[str, str]) -> dict[str, Label]:
    """A task's labels by the names of the models.

    Raises:
        CvatError: unknown_label, a label is to be written as one that the task has not.
    """
    by_name = {label.name: label for label in labels}
    if unknown := sorted(set(renamed.values()) - by_name.keys()):
        message = f"the task has no label {', '.join(unknown)}; it has {', '.join(by_name) or 'none'}"
        raise CvatError("unknown_label", message)
    return by_name | {ours: by_name[theirs] for ours, theirs in renamed.items()}


def labelled(
    frames: Iterable[Frame], pre_labels: Streams, job: Job, report: Report
) -> Iterator[tuple[Frame, list[Shape]]]:
    """Each frame with its shapes, in order; one that fails has none, and is noted in the report."""
    waiting: deque[Frame] = deque()

    def requests() -> Iterator[Request]:
        for frame in frames:
            waiting.append(frame)
            if frame.problem is None:
                yield Request(item=_item(frame, job), task=job.task)

    for result in pre_labels.stream(requests()):
        yield from _unread(waiting, report)
        frame = waiting.popleft()
        yield frame, _shapes(frame, result, job, report)
    yield from _unread(waiting, report)


def store(server: CvatServer, task_id: int, payload: Payload, *, clear_existing: bool) -> None:
    """Put the shapes into the task.

    Replacing can be repeated, adding cannot: when its answer is lost, the shapes may be there already.
    """
    path = f"tasks/{task_id}/annotations"
    if clear_existing:
        server.send("PUT", path, payload.as_json())
    elif payload.tags or payload.shapes:
        server.send("PATCH", f"{path}?action=create", payload.as_json(), attempts=1)


def _item(frame: Frame, job: Job) -> Item:
    item_id = f"{job.name}/{frame.index:06d}/{frame.name}"[:_LONGEST_ID]
    return Item(id=item_id, media="image", data=frame.data, meta={"source": job.name})


def _unread(waiting: deque[Frame], report: Report) -> Iterator[tuple[Frame, list[Shape]]]:
    """The frames before the next one that was sent."""
    while waiting and (problem := waiting[0].problem) is not None:
        frame = waiting.popleft()
        report.frames += 1
        report.failed.append(FailedFrame(index=frame.index, name=frame.name, code="unreadable_frame", message=problem))
        yield frame, []


def _shapes(frame: Frame, result: Result, job: Job, report: Report) -> list[Shape]:
    report.frames += 1
    if result.error is not None:
        failed = FailedFrame(index=frame.index, name=frame.name, code=result.error.code, message=result.error.message)
        report.failed.append(failed)
        return []
    found = shapes(result, job.labels, wanted=job.wanted, left_out=report.left_out)
    report.tags += sum(shape.type == "tag" for shape in found)
    report.shapes += sum(shape.type != "tag" for shape in found)
    return found
