"""Checks the agent against a server that speaks CVAT's agent protocol, with its troubles."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from pipelines.formats.results import Result
from pipelines.prelabel import Request
from serving.client import Client
from serving.client.errors import UnreachableError
from serving.integrations.cvat.agent import Agent, reason
from serving.integrations.cvat.clicks import Clicks
from serving.integrations.cvat.errors import CvatError
from serving.integrations.cvat.function_queue import FunctionQueue
from serving.integrations.cvat.interactor import Outlined
from serving.integrations.cvat.label import read_labels
from serving.integrations.cvat.pause import Pauses
from serving.integrations.cvat.request import Worker
from serving.integrations.cvat.server import CvatServer
from serving.integrations.cvat.work import Watch, Work
from tests.pipelines.formats.builders import a_failure, a_result, an_annotation
from tests.serving.integrations.cvat.images import frames, labels
from tests.serving.integrations.cvat.real import forward_calls
from tests.serving.integrations.cvat.stub import TOKEN, Fault, StubCvat, StubTask, a_cvat
from tests.serving.integrations.vision import hidden

AGENT = "agent-of-the-tests"
FILES = [(f"{number}.png", f"file {number}".encode()) for number in range(7)]
MAPPING = {"circle": {"name": "circle"}}
TASK = {"type": "annotate_task", "task": 1, "mapping": MAPPING, "threshold": None, "conv_mask_to_poly": False}
FRAME = TASK | {"type": "annotate_frame", "frame": 2}
CLICK = {"type": "interact", "task": 1, "frame": 2, "pos_points": [[3, 4]], "neg_points": [], "obj_bbox": []}
FUNCTION = {"id": 1, "provider": "native", "kind": "detector", "labels_v2": labels()}


@dataclass
class Circles:
    """A service that finds a circle everywhere; ``meanwhile`` is called with each item's number of a job."""

    meanwhile: Callable[[int], object] = lambda number: None
    streamed: list[Request] = field(default_factory=list)
    singles: list[Request] = field(default_factory=list)

    def stream(self, requests: Iterable[Request]) -> Iterator[Result]:
        for number, request in enumerate(requests):
            self.streamed.append(request)
            self.meanwhile(number)
            yield _circle(request)

    def pre_label(self, requests: Iterable[Request]) -> list[Result]:
        self.singles += (own := list(requests))
        return list(map(_circle, own))

    def outline(self, data: bytes, clicks: Clicks) -> Outlined | None:
        return Outlined(points=(0.0, 4.0, 1.0, 1.0, 2.0, 2.0), score=0.875)


def _circle(request: Request) -> Result:
    if request.item.data == b"fail":
        return replace(a_failure(), id=request.item.id)
    found = a_result(request.item.id, an_annotation(score=0.75))
    return hidden(found) if request.item.data == b"hide" else found


@pytest.fixture
def cvat() -> Iterator[StubCvat]:
    task = StubTask(files=FILES, labels=labels(), chunk=3)
    with a_cvat(tasks={1: task}, functions={1: dict(FUNCTION)}) as running:
        yield running


@contextmanager
def an_agent(
    cvat: StubCvat, service: Any, *, work: Work | None = None, update_s: float = 30.0, outlines: Any = None
) -> Iterator[Agent]:
    pauses = Pauses(first_s=0.01, most_s=0.05, draw=lambda: 0.0)
    with CvatServer(cvat.address, token=TOKEN, pauses=pauses) as server:
        queue = FunctionQueue(server, 1, agent_id=AGENT)
        own = read_labels(queue.function()["labels_v2"])
        worker = Worker(server=server, pre_labels=service, outlines=outlines or service, task="detection", labels=own)
        yield Agent(queue, worker, work or Work(), update_s=update_s)


def burst(cvat: StubCvat, service: Any, **how: Any) -> None:
    with an_agent(cvat, service, **how) as agent:
        agent.run(is_burst=True)


@contextmanager
def running(cvat: StubCvat, service: Any, *, work: Work, is_watching: bool = True) -> Iterator[Agent]:
    """An agent that runs until the context ends."""
    with an_agent(cvat, service, work=work) as agent:
        thread = threading.Thread(target=agent.run)
        queue = agent._queue
        watch = Watch(queue, work, pauses=Pauses(first_s=0.01, most_s=0.05, draw=lambda: 0.0))
        if is_watching:
            watch.__enter__()
        thread.start()
        try:
            yield agent
        finally:
            agent.stop()
            watch.__exit__(None, None, None)
            thread.join(timeout=30)
            assert not thread.is_alive()


def shapes(cvat: StubCvat, request_id: str) -> list[dict[str, Any]]:
    return cvat.completed[request_id]["annotations"]["shapes"]


def test_the_frames_of_a_task_are_computed_in_few_forward_calls(address: str) -> None:
    task = StubTask(files=frames(40, first=300), labels=labels(), chunk=10)
    names = [str(own["name"]) for own in labels()]
    with a_cvat(tasks={1: task}, functions={1: dict(FUNCTION)}) as cvat, Client(address) as client:
        cvat.ask("batch", "r1", TASK | {"mapping": {name: {"name": name} for name in names}})
        calls, items = forward_calls(address, "shapes-detector")
        burst(cvat, client)
        calls_after, items_after = forward_calls(address, "shapes-detector")

    assert items_after - items == 40
    assert calls_after - calls <= 8  # a hundred in at most twenty
    assert len({shape["frame"] for shape in shapes(cvat, "r1")}) > 35


def test_what_a_person_is_to_label_from_nothing_is_not_drawn_for_them(cvat: StubCvat) -> None:
    cvat.tasks[1] = replace(cvat.tasks[1], files=[("0.png", b"hide"), ("1.png", b"show"), ("2.png", b"hide")])
    cvat.ask("batch", "r1", TASK)
    cvat.ask("interactive", "r2", FRAME)

    burst(cvat, Circles())

    assert [shape["frame"] for shape in shapes(cvat, "r1")] == [1]
    assert shapes(cvat, "r2") == []
    assert cvat.failed == {}


def test_a_task_is_labelled_as_its_request_maps_the_labels(cvat: StubCvat) -> None:
    cvat.tasks[1] = replace(
        cvat.tasks[1],
        labels=[
            {
                "id": 9,
                "name": "disc",
                "type": "any",
                "attributes": [{"id": 90, "name": "sure", "input_type": "text", "values": []}],
            },
        ],
    )
    function = labels("rectangle", attributes=("score",))
    cvat.functions[1]["labels_v2"] = function
    cvat.ask("batch", "r1", TASK | {"mapping": {"circle": {"name": "disc", "attributes": {"score": "sure"}}}})

    burst(cvat, Circles())

    assert cvat.failed == {}
    assert [shape["frame"] for shape in shapes(cvat, "r1")] == list(range(7))
    assert shapes(cvat, "r1")[0] == {
        "label_id": 9,
        "frame": 0,
        "source": "auto",
        "type": "rectangle",
        "points": [10.0, 20.0, 40.0, 60.0],
        "score": 0.75,
        "attributes": [{"spec_id": 90, "value": "0.75"}],
    }


@pytest.mark.parametrize(("threshold", "found"), [(None, 1), (0.75, 1), (0.76, 0)])
def test_one_frame_is_labelled_at_once_with_what_reaches_the_threshold(
    cvat: StubCvat, threshold: float | None, found: int
) -> None:
    cvat.ask("interactive", "r1", FRAME | {"threshold": threshold})
    service = Circles()

    burst(cvat, service)

    assert [request.item.data for request in service.singles] == [b"file 2"]
    assert [shape["frame"] for shape in shapes(cvat, "r1")] == [2] * found


def test_a_click_is_answered_with_a_mask_and_its_confidence(cvat: StubCvat) -> None:
    cvat.ask("interactive", "r1", CLICK)

    burst(cvat, Circles())

    assert cvat.completed["r1"]["shapes"] == [
        {
            "type": "mask",
            "points": [0.0, 4.0, 1.0, 1.0, 2.0, 2.0],
            "attributes": [{"spec_id": 0, "value": "0.875"}],
        }
    ]


def test_interactive_requests_go_before_batch_ones(cvat: StubCvat) -> None:
    cvat.ask("batch", "slow", TASK)
    cvat.ask("interactive", "urgent", FRAME)

    burst(cvat, Circles())

    assert list(cvat.completed) == ["urgent", "slow"]


def test_an_interactive_request_that_comes_meanwhile_is_done_before_the_task_goes_on(cvat: StubCvat) -> None:
    work = Work()
    done_at = list[int]()

    def meanwhile(number: int) -> None:
        if number == 2:
            cvat.ask("interactive", "urgent", FRAME)
            work.hint("interactive")
        if "urgent" in cvat.completed:
            done_at.append(number)

    cvat.ask("batch", "slow", TASK)

    burst(cvat, Circles(meanwhile), work=work)

    assert done_at[0] == 3
    assert list(cvat.completed) == ["urgent", "slow"]
    assert len(shapes(cvat, "slow")) == 7


def test_a_bad_frame_fails_alone_and_nothing_but_bad_ones_fail_the_request(cvat: StubCvat) -> None:
    cvat.tasks[1].files = [("a", b"x"), ("b", b"fail"), ("c", b"y")]
    cvat.tasks[2] = StubTask(files=[("a", b"fail"), ("b", b"fail")], labels=labels())
    cvat.ask("batch", "r1", TASK)
    cvat.ask("batch", "r2", TASK | {"task": 2})

    burst(cvat, Circles())

    assert [shape["frame"] for shape in shapes(cvat, "r1")] == [0, 2]
    assert cvat.failed == {"r2": "none of 2 frames could be labelled: unreadable_image"}


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"type": "track", "task": 1}, "Invalid annotation request: unsupported type: 'track'"),
        ({"task": 1}, "Invalid annotation request: unsupported type: 'None'"),
        (FRAME | {"frame": 99}, "Invalid annotation request: frame with index 99 does not exist in the task"),
        (FRAME | {"frame": "2"}, "Invalid annotation request: 'frame' must be a whole number"),
        (
            TASK | {"mapping": {"circle": {"name": "moon"}}},
            "Invalid annotation request: the task has no label 'moon', which 'circle' is mapped to",
        ),
        (
            TASK | {"mapping": {"moon": {"name": "circle"}}},
            "Invalid annotation request: the function has no label 'moon'",
        ),
        (TASK | {"task": 77}, "Received HTTP status 404"),
        (
            CLICK | {"pos_points": []},
            "Invalid annotation request: got neither a positive point nor a box; give at least one of them",
        ),
        (CLICK | {"pos_points": [[1]]}, "Invalid annotation request: the points or the box cannot be read"),
        (
            CLICK | {"obj_bbox": [[1, 2]]},
            "Invalid annotation request: a box must be [[x1, y1], [x2, y2]] or [x1, y1, x2, y2]",
        ),
    ],
)
def test_a_request_that_cannot_be_met_is_failed_and_the_next_one_is_done(
    cvat: StubCvat, params: Mapping[str, Any], said: str
) -> None:
    cvat.ask("batch", "bad", params)
    cvat.ask("batch", "good", TASK)

    burst(cvat, Circles())

    assert cvat.failed == {"bad": said}
    assert list(cvat.completed) == ["good"]


class Broken(Circles):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def stream(self, requests: Iterable[Request]) -> Iterator[Result]:
        raise self.error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("/home/me/secret.txt"), "Unknown error"),
        (
            UnreachableError("unreachable", "http://10.1.2.3:8000 does not answer"),
            "The labelling service does not answer",
        ),
        (CvatError("cvat_refused", f"CVAT answers 500: {TOKEN}", 500), "Received HTTP status 500"),
        (CvatError("cvat_unreachable", "CVAT at http://10.0.0.1 does not answer"), "Failed to make an HTTP request"),
    ],
)
def test_what_is_told_of_a_failure_holds_nothing_of_ours(cvat: StubCvat, error: Exception, said: str) -> None:
    cvat.ask("batch", "r1", TASK)

    burst(cvat, Broken(error))

    assert cvat.failed == {"r1": said}
    assert reason(error) == said


def test_acquiring_and_completing_are_repeated_after_what_cvat_asks_for(cvat: StubCvat) -> None:
    cvat.ask("batch", "r1", TASK)
    cvat.faults["acquire"].extend([Fault(status=429, retry_after="0"), Fault(status=503)])
    cvat.faults["complete"].extend([Fault(status=502), Fault(status=429, retry_after="1"), Fault(status=500)])

    burst(cvat, Circles())

    completes = [call for call in cvat.calls if call.path.endswith("complete")]
    assert list(cvat.completed) == ["r1"]
    assert len(completes) == 4
    assert completes[2].at - completes[1].at >= 1.0  # the second attempt's answer asked for a second


def test_a_result_that_cannot_be_handed_in_is_failed_after_the_attempts(cvat: StubCvat) -> None:
    cvat.ask("batch", "r1", TASK)
    cvat.faults["complete"].extend([Fault(status=503)] * 4)

    burst(cvat, Circles())

    assert cvat.completed == {}
    assert cvat.failed == {"r1": "Received HTTP status 503"}


def test_a_function_that_is_gone_ends_the_agent(cvat: StubCvat) -> None:
    with an_agent(cvat, Circles()) as agent:
        del cvat.functions[1]

        with pytest.raises(CvatError, match="404"):
            agent.run(is_burst=True)


def test_progress_is_told_while_the_work_goes_on_and_a_refusal_changes_nothing(cvat: StubCvat) -> None:
    def meanwhile(number: int) -> None:
        if number == 3:
            cvat.until(lambda: len(cvat.progress["r1"]) > 1)

    cvat.faults["update"].append(Fault(status=500))
    cvat.ask("batch", "r1", TASK)

    burst(cvat, Circles(meanwhile), update_s=0.02)

    assert list(cvat.completed) == ["r1"]
    assert cvat.progress["r1"] == sorted(cvat.progress["r1"])
    assert any(told == pytest.approx(3 / 7) for told in cvat.progress["r1"])
    assert {call.body["agent_id"] for call in cvat.calls if call.path.endswith("update")} == {AGENT}


def test_an_event_brings_a_request_without_polling(cvat: StubCvat) -> None:
    cvat.has_events = True
    work = Work(poll_s=3600.0, rarely_s=3600.0)

    with running(cvat, Circles(), work=work):
        cvat.until(lambda: len(cvat.paths("acquire")) >= 2 and work.is_watched)
        cvat.ask("interactive", "r1", FRAME, says_so=True)
        cvat.until(lambda: "r1" in cvat.completed)


def test_an_event_stream_that_breaks_off_is_connected_again(cvat: StubCvat) -> None:
    cvat.has_events = True
    work = Work(poll_s=3600.0, rarely_s=3600.0)

    with running(cvat, Circles(), work=work):
        cvat.until(lambda: len(cvat.paths("watch")) == 1)
        cvat.say(": a comment", "event: newreq", None)
        cvat.until(lambda: len(cvat.paths("watch")) >= 2)
        cvat.ask("batch", "r1", TASK, says_so=True)
        cvat.until(lambda: "r1" in cvat.completed)


def test_without_an_event_stream_the_queue_is_polled(cvat: StubCvat) -> None:
    with running(cvat, Circles(), work=Work(poll_s=0.02)):
        cvat.until(lambda: len(cvat.paths("watch")) >= 3)
        cvat.ask("interactive", "r1", FRAME)
        cvat.until(lambda: "r1" in cvat.completed)


def test_an_event_of_an_unknown_kind_or_category_does_no_harm(cvat: StubCvat) -> None:
    cvat.has_events = True
    work = Work(poll_s=3600.0, rarely_s=3600.0)

    with running(cvat, Circles(), work=work):
        cvat.until(lambda: len(cvat.paths("watch")) == 1)
        cvat.say("event: farewell", "data: {}", "", "event: newrequest", "data: nothing", "")
        cvat.say("event: newrequest", 'data: {"request_category": "lazy"}', "")
        cvat.ask("batch", "r1", TASK, says_so=True)
        cvat.until(lambda: "r1" in cvat.completed)
        assert len(cvat.paths("watch")) == 1


def test_an_agent_that_is_stopped_gives_its_request_back(cvat: StubCvat) -> None:
    began, stopped = threading.Event(), threading.Event()

    def meanwhile(number: int) -> None:
        if number == 2:
            began.set()
            assert stopped.wait(30)

    cvat.ask("batch", "r1", TASK)
    with running(cvat, Circles(meanwhile), work=Work(), is_watching=False) as agent:
        assert began.wait(30)
        agent.stop()
        stopped.set()
        cvat.until(lambda: cvat.failed)

    assert cvat.failed == {"r1": "The agent was stopped"}
    assert cvat.completed == {}
