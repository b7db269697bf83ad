"""Checks our own job over a task: frames in few forward calls, a bad one failing alone, CVAT's troubles waited out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from models.demo.scenes import LABELS
from pipelines.formats.results import Result
from pipelines.prelabel import Request
from serving.client import Client
from serving.integrations.cvat.annotate import Report, annotate_task
from serving.integrations.cvat.errors import CvatError
from serving.integrations.cvat.pause import Pauses
from serving.integrations.cvat.server import CvatServer
from serving.integrations.cvat.shape import Wanted
from tests.pipelines.formats.builders import a_failure, a_result, an_annotation
from tests.serving.integrations.cvat.images import BAD, frames, labels
from tests.serving.integrations.cvat.real import forward_calls
from tests.serving.integrations.cvat.stub import TOKEN, Fault, StubCvat, StubTask, a_cvat
from tests.serving.integrations.vision import hidden

FILES = [(f"{number}.png", f"file {number}".encode()) for number in range(7)]


@dataclass
class Circles:
    """A service that finds a circle in every frame, and fails on those that say "fail"."""

    items: list[Request] = field(default_factory=list)

    def stream(self, requests: Iterable[Request]) -> Iterator[Result]:
        self.items = list(requests)
        return map(self._result, self.items)

    def _result(self, request: Request) -> Result:
        if request.item.data == b"fail":
            return replace(a_failure(), id=request.item.id)
        found = a_result(request.item.id, an_annotation(score=0.75))
        return hidden(found) if request.item.data == b"hide" else found


def a_task(**changes: Any) -> StubTask:
    return StubTask(**({"files": FILES, "labels": labels(), "chunk": 3} | changes))


@pytest.fixture
def cvat() -> Iterator[StubCvat]:
    with a_cvat(tasks={1: a_task()}) as running:
        yield running


def job(cvat: StubCvat, service: Any, waits: list[float] | None = None, **asked: Any) -> Report:
    pauses, sleep = Pauses(draw=lambda: 0.0), (waits if waits is not None else []).append
    with CvatServer(cvat.address, token=TOKEN, pauses=pauses, sleep=sleep) as server:
        return annotate_task(server, 1, service, task="detection", **asked)


def stored(cvat: StubCvat) -> dict[str, Any]:
    [upload] = cvat.tasks[1].annotations
    return upload


def test_frames_to_be_labelled_from_nothing_get_no_shapes_and_are_counted() -> None:
    files = [("0.png", b"hide"), ("1.png", b"show"), ("2.png", b"hide")]
    with a_cvat(tasks={1: a_task(files=files)}) as cvat:
        report = job(cvat, Circles())

        assert [shape["frame"] for shape in stored(cvat)["shapes"]] == [1]
    assert (report.frames, report.shapes, report.failed) == (3, 1, [])
    assert report.left_out == {"items to be labelled from nothing": 2}


def test_a_hundred_frames_are_computed_in_at_most_twenty_forward_calls(address: str) -> None:
    files = frames(100)
    with a_cvat(tasks={1: a_task(files=files, chunk=36)}) as cvat, Client(address) as client:
        calls, items = forward_calls(address, "shapes-detector")
        report = job(cvat, client)
        calls_after, items_after = forward_calls(address, "shapes-detector")

    assert (report.frames, report.failed) == (100, [])
    assert items_after - items == 100
    assert calls_after - calls <= 20
    assert len({shape["frame"] for shape in stored(cvat)["shapes"]}) > 90
    assert {shape["type"] for shape in stored(cvat)["shapes"]} == {"rectangle"}
    assert all(0 < shape["score"] < 1 for shape in stored(cvat)["shapes"])
    assert len({shape["score"] for shape in stored(cvat)["shapes"]}) > 50
    assert {shape["label_id"] for shape in stored(cvat)["shapes"]} == {101 + n for n in range(len(LABELS))}


def test_a_bad_frame_gets_no_shapes_and_is_listed(address: str) -> None:
    files = frames(7, first=200)
    files[2] = ("shelf/bad.png", BAD)
    with a_cvat(tasks={1: a_task(files=files)}) as cvat, Client(address) as client:
        report = job(cvat, client)

    assert [(frame.index, frame.name, frame.code) for frame in report.failed] == [
        (2, "shelf/bad.png", "unreadable_image")
    ]
    assert {shape["frame"] for shape in stored(cvat)["shapes"]} == {0, 1, 3, 4, 5, 6}


def test_masks_and_polygons_of_the_real_segmenter_are_stored(address: str) -> None:
    wanted = Wanted(conv_mask_to_poly=True)
    with (
        a_cvat(tasks={1: a_task(files=frames(2, first=210))}) as cvat,
        Client(address) as client,
        CvatServer(cvat.address, token=TOKEN) as server,
    ):
        masks = annotate_task(server, 1, client, task="segmentation")
        polygons = annotate_task(server, 1, client, task="segmentation", wanted=wanted, clear_existing=True)

    added, replaced = cvat.tasks[1].annotations
    assert (added["method"], added["action"], replaced["method"]) == ("PATCH", "create", "PUT")
    assert {shape["type"] for shape in added["shapes"]} == {"mask"}
    assert {shape["type"] for shape in replaced["shapes"]} == {"polygon"}
    assert masks.shapes == polygons.shapes > 2


def test_every_frame_is_sent_as_the_file_that_it_is_and_deleted_ones_are_not(cvat: StubCvat) -> None:
    cvat.tasks[1] = a_task(deleted=(1, 5))
    service = Circles()

    report = job(cvat, service)

    assert [request.item.data for request in service.items] == [
        data for n, (_, data) in enumerate(FILES) if n not in (1, 5)
    ]
    assert [request.item.id for request in service.items][:2] == ["cvat-1/000000/0.png", "cvat-1/000002/2.png"]
    assert (report.frames, report.shapes) == (5, 5)
    assert [shape["frame"] for shape in stored(cvat)["shapes"]] == [0, 2, 3, 4, 6]
    assert len(cvat.paths("data")) == 3  # chunks


def test_what_the_service_cannot_label_fails_alone(cvat: StubCvat) -> None:
    cvat.tasks[1] = a_task(files=[("a", b"x"), ("b", b"fail"), ("c", b"y")])

    report = job(cvat, Circles())

    assert [(frame.name, frame.code) for frame in report.failed] == [("b", "unreadable_image")]
    assert [shape["frame"] for shape in stored(cvat)["shapes"]] == [0, 2]


def test_frames_of_a_chunk_that_cannot_be_had_are_asked_for_one_by_one(cvat: StubCvat) -> None:
    cvat.faults["tasks/1/data"].append(Fault(status=200))  # the first chunk is no archive

    report = job(cvat, Circles())

    assert (report.frames, report.failed) == (7, [])
    assert len(cvat.paths("tasks/1/data")) == 3 + 3


def test_a_frame_that_cvat_does_not_give_is_listed(cvat: StubCvat) -> None:
    cvat.tasks[1] = a_task(kind="video")
    cvat.faults["tasks/1/data"].extend([Fault(status=404)])

    report = job(cvat, Circles())

    assert [(frame.index, frame.code, frame.message) for frame in report.failed] == [
        (0, "unreadable_frame", "CVAT does not give it: status 404")
    ]
    assert [shape["frame"] for shape in stored(cvat)["shapes"]] == [1, 2, 3, 4, 5, 6]


def test_passing_troubles_are_waited_out_as_long_as_cvat_asks(cvat: StubCvat) -> None:
    cvat.faults["tasks/1"].extend([Fault(status=429, retry_after="7"), Fault(status=503), Fault(status=500)])
    waits = list[float]()

    report = job(cvat, Circles(), waits)

    assert report.frames == 7
    assert waits == [7.0, 2.0, 4.0]


def test_a_trouble_that_does_not_pass_is_said_without_the_token(cvat: StubCvat) -> None:
    cvat.faults["tasks/1"].extend([Fault(status=503)] * 4)

    with pytest.raises(CvatError, match="answers 503 to GET /api/tasks/1") as caught:
        job(cvat, Circles())

    assert TOKEN not in str(caught.value)
    assert caught.value.status == 503


def test_adding_shapes_is_not_repeated_as_they_may_be_there_already(cvat: StubCvat) -> None:
    cvat.faults["annotations"].extend([Fault(status=504, is_done=True)])

    with pytest.raises(CvatError, match="504"):
        job(cvat, Circles())

    assert len(cvat.tasks[1].annotations) == 1


def test_replacing_them_is_repeated(cvat: StubCvat) -> None:
    cvat.faults["annotations"].extend([Fault(status=504, is_done=True)])

    job(cvat, Circles(), clear_existing=True)

    assert len(cvat.tasks[1].annotations) == 2


def test_a_label_can_have_another_name_in_cvat(cvat: StubCvat) -> None:
    cvat.tasks[1] = a_task(labels=[{"id": 5, "name": "disc", "type": "any", "attributes": []}])

    report = job(cvat, Circles(), renamed={"circle": "disc"})

    assert report.shapes == 7
    assert {shape["label_id"] for shape in stored(cvat)["shapes"]} == {5}
    with pytest.raises(CvatError, match="no label ring; it has disc"):
        job(cvat, Circles(), renamed={"circle": "ring"})


def test_nothing_is_called_done_before_it_is(cvat: StubCvat) -> None:
    told = list[tuple[int, int]]()

    job(cvat, Circles(), progress=lambda done, of: told.append((done, of)))

    assert told == [(n, 7) for n in range(1, 8)]


def test_a_server_that_is_not_there_is_named() -> None:
    with (
        CvatServer("http://127.0.0.1:9", token=TOKEN, attempts=2, sleep=lambda _: None) as server,
        pytest.raises(CvatError, match=r"CVAT at http://127.0.0.1:9 does not answer") as caught,
    ):
        annotate_task(server, 1, Circles(), task="detection")

    assert caught.value.code == "cvat_unreachable"
