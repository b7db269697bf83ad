"""Tests both clients against a real HTTP server that refuses, breaks off, says nonsense, or says nothing."""

from __future__ import annotations

import asyncio
import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from models.errors import OverloadedError, PrelabelError
from models.types import Item, Prompts
from pipelines.errors import ConflictError, InvalidRequestError, NotFoundError
from pipelines.formats.results import Result
from pipelines.prelabel import Request
from serving.client import AnswerError, AsyncClient, Client, ServiceError, Tally, UnreachableError
from serving.client.tally import progress_bar
from tests.serving.client.builders import Time, a_request, texts
from tests.serving.client.faulty import (
    Fault,
    Faulty,
    Got,
    dropped,
    faulty_service,
    no_http,
    nothing_found,
    raw,
    refused,
    silent,
    well,
)

pytestmark = pytest.mark.timeout(60)


@dataclass
class Calls:
    """One of the clients, called the same way."""

    kind: type[Client] | type[AsyncClient]
    address: str
    time: Time

    def __call__(self, method: str, *args: Any, most_s: float = 60.0, **kwargs: Any) -> Any:
        known = {"timeout_s": most_s, "surroundings": self.time.surroundings()}
        if self.kind is Client:
            with Client(self.address, **known) as client:
                return self._all(getattr(client, method)(*args, **kwargs))

        async def asked() -> Any:
            async with AsyncClient(self.address, **known) as client:
                answer = getattr(client, method)(*args, **kwargs)
                return [one async for one in answer] if hasattr(answer, "__aiter__") else await answer

        return asyncio.run(asked())

    def _all(self, answer: Any) -> Any:
        return list(answer) if isinstance(answer, Iterator) else answer


@pytest.fixture(params=[Client, AsyncClient])
def client(request: pytest.FixtureRequest) -> Callable[[Faulty], Calls]:
    return lambda faulty: Calls(kind=request.param, address=faulty.address, time=Time())


MakeCalls = Callable[[Faulty], Calls]


def test_items_come_back_in_order_and_their_bytes_travel_as_parts(client: MakeCalls) -> None:
    requests = [a_request("a", text="Ada"), a_request("b", task="detection", data=b"\x00\xff"), a_request("c")]

    with faulty_service() as faulty:
        results = client(faulty)("pre_label", requests, labels=["cat"])

    assert [result.id for result in results] == ["a", "b", "c"]
    [got] = faulty.got
    assert got.parts == {"1": b"\x00\xff"}
    assert [sorted(item) for item in got.body["items"]] == [
        ["id", "task", "text"],
        ["id", "part", "task"],
        ["id", "task", "text"],
    ]
    assert got.body["labels"] == ["cat"]


def test_nothing_is_asked_for_nothing(client: MakeCalls) -> None:
    with faulty_service() as faulty:
        assert client(faulty)("pre_label", []) == []

    assert faulty.got == []


PASSING: list[Fault] = [refused(429), refused(503), raw(502, b"<html>"), raw(504, b""), dropped]


@pytest.mark.parametrize("fault", PASSING, ids=["429", "503", "502", "504", "dropped"])
def test_what_passes_is_asked_again_in_the_same_words(client: MakeCalls, fault: Fault) -> None:
    with faulty_service(fault, fault) as faulty:
        calls = client(faulty)
        results = calls("pre_label", texts(2))

    assert [result.status for result in results] == ["nothing_found", "nothing_found"]
    assert len(faulty.got) == 3
    assert len({got.body["run"] for got in faulty.got}) == 1  # so that the service stores it once
    assert calls.time.waits == [0.25, 0.5]


def test_after_the_last_attempt_the_services_own_words_are_raised(client: MakeCalls) -> None:
    fault = refused(429, code="overloaded", message="the model's queue is full; try again later")

    with faulty_service(*[fault] * 9) as faulty, pytest.raises(OverloadedError, match="the model's queue is full"):
        client(faulty)("pre_label", texts(1))

    assert len(faulty.got) == 4


@pytest.mark.parametrize("asked", ["7", "Mon, 30 Nov 2026 12:00:07 GMT"])
def test_the_client_comes_back_when_it_is_told_to(client: MakeCalls, asked: str) -> None:
    with faulty_service(refused(429, Retry_After=asked)) as faulty:
        calls = client(faulty)
        calls("pre_label", texts(1))

    assert len(faulty.got) == 2
    assert calls.time.waits == [7.0]


def test_the_deadline_holds_for_all_attempts_together(client: MakeCalls) -> None:
    with faulty_service(*[refused(503, Retry_After="4")] * 9) as faulty:
        calls = client(faulty)
        with pytest.raises(ServiceError):
            calls("pre_label", texts(1), most_s=10.0)

    assert calls.time.waits == [4.0, 4.0]  # a third would end after it
    told = [got.body["deadline_s"] for got in faulty.got]
    assert told == pytest.approx([7.5, 4.5, 1.5])  # what is left, and a quarter of it to store the results in


def test_the_callers_own_deadline_is_told_where_it_is_shorter(client: MakeCalls) -> None:
    with faulty_service() as faulty:
        client(faulty)("pre_label", texts(1), deadline_s=2.0)
        client(faulty)("pre_label", texts(1), deadline_s=500.0)

    assert [got.body["deadline_s"] for got in faulty.got] == [2.0, 57.0]


def test_a_service_that_is_silent_is_left_in_time(client: MakeCalls) -> None:
    with faulty_service(silent) as faulty, pytest.raises(UnreachableError, match=r"within 0\.3 s") as caught:
        client(faulty)("pre_label", texts(1), most_s=0.3)

    assert caught.value.code == "timeout"
    assert len(faulty.got) == 1


@pytest.mark.parametrize("status", [401, 404, 409, 500])
def test_what_does_not_pass_is_asked_once(client: MakeCalls, status: int) -> None:
    fault = refused(status, code="its_code", message="its words")

    with faulty_service(fault) as faulty, pytest.raises(PrelabelError, match="its words") as caught:
        client(faulty)("pre_label", texts(3))

    assert caught.value.code == "its_code"
    assert len(faulty.got) == 1


@pytest.mark.parametrize(
    "fault",
    [
        raw(200, b"<html>Welcome</html>"),
        raw(200, b"{}"),
        raw(200, b'{"results": [{"id": 3}]}'),
        raw(200, b'{"results": []}'),
        raw(302, b"", Location="http://127.0.0.1:1/"),
        raw(404, b"<html>no such page</html>"),
    ],
    ids=["page", "no results", "no result", "too few", "redirect", "404 page"],
)
def test_an_answer_in_another_language_is_an_error_that_says_so(client: MakeCalls, fault: Fault) -> None:
    with faulty_service(fault) as faulty, pytest.raises(AnswerError) as caught:
        client(faulty)("pre_label", texts(1))

    assert caught.value.code == "bad_answer"
    assert faulty.address in caught.value.message
    assert len(faulty.got) == 1


def test_what_does_not_speak_http_is_unreachable(client: MakeCalls) -> None:
    with faulty_service(*[no_http] * 4) as faulty, pytest.raises(UnreachableError):
        client(faulty)("pre_label", texts(1))

    assert len(faulty.got) == 4


def test_nobody_at_the_address_is_said_after_all_attempts(client: MakeCalls) -> None:
    with faulty_service() as faulty:
        pass
    calls = client(faulty)

    with pytest.raises(UnreachableError, match="check the address"):
        calls("models")

    assert len(calls.time.waits) == 3


def most(items: int, fault: Fault = well) -> Fault:
    """A service that takes so many items in a call."""

    def limited(handler: Any, got: Got) -> None:
        if len(got.body["items"]) > items:
            refused(413, code="too_large", message=f"at most {items}")(handler, got)
        else:
            fault(handler, got)

    return limited


def test_what_is_too_large_together_is_sent_in_halves(client: MakeCalls) -> None:
    with faulty_service(*[most(2)] * 99) as faulty:
        results = client(faulty)("pre_label", texts(7))

    assert [result.id for result in results] == [f"t{n}" for n in range(7)]
    assert [len(got.body["items"]) for got in faulty.got] == [7, 3, 1, 2, 4, 2, 2]


def test_an_item_that_is_too_large_alone_fails_alone(client: MakeCalls) -> None:
    def limited(handler: Any, got: Got) -> None:
        is_large = any(len(part) > 10 for part in got.parts.values())
        (refused(413, code="too_large", message="at most 10") if is_large else well)(handler, got)

    requests = [a_request(f"i{n}", task="detection", data=b"x" * (99 if n == 2 else 9)) for n in range(5)]

    with faulty_service(*[limited] * 99) as faulty:
        results = client(faulty)("pre_label", requests)

    assert [result.status for result in results] == ["nothing_found"] * 2 + ["failed"] + ["nothing_found"] * 2
    assert results[2].error.code == "too_large"
    assert (results[2].id, results[2].task) == ("i2", "detection")


def test_a_refusal_in_the_middle_of_a_stream_ends_it_with_the_services_words(client: MakeCalls) -> None:
    with faulty_service(well, refused(401, code="unauthorized", message="send a key")) as faulty:
        calls, told = client(faulty), list[Tally]()

        with pytest.raises(ServiceError, match="send a key"):
            calls("stream", texts(30), batch_items=3, calls_at_once=1, progress=told.append)

    assert [tally.items for tally in told] == [1, 2, 3]


@pytest.mark.parametrize(
    "wrong",
    [
        {"labels": "cat"},
        {"labels": ["\ud800"]},
        {"deadline_s": 0.0},
        {"deadline_s": float("nan")},
        {"priority": "soon"},
        {"run": "my run"},
        {"run": ""},
    ],
    ids=str,
)
def test_what_is_wrong_beside_the_items_costs_none_of_them(client: MakeCalls, wrong: dict[str, Any]) -> None:
    with faulty_service() as faulty:
        for method in ("pre_label", "stream"):
            if wrong != {"run": ""}:  # which is none
                with pytest.raises(InvalidRequestError):
                    client(faulty)(method, texts(2), **wrong)

    assert faulty.got == []


def test_a_stream_keeps_its_order_while_calls_overtake_each_other(client: MakeCalls) -> None:
    second_is_in = threading.Event()

    def late(handler: Any, got: Got) -> None:
        assert second_is_in.wait(30)
        well(handler, got)

    def early(handler: Any, got: Got) -> None:
        well(handler, got)
        second_is_in.set()

    with faulty_service(late, early) as faulty:
        results = client(faulty)("stream", texts(5), batch_items=2, calls_at_once=2)

    assert second_is_in.is_set()
    assert [result.id for result in results] == [f"t{n}" for n in range(5)]
    assert len({got.body["run"] for got in faulty.got}) == 1
    assert {got.body["priority"] for got in faulty.got} == {"bulk"}


def test_a_stream_reads_no_further_than_what_is_in_flight() -> None:
    read = list[str]()

    def drop() -> Iterator[Request]:
        for number in range(1_000_000):
            read.append(str(number))
            yield a_request(str(number))

    with faulty_service() as faulty, Client(faulty.address) as client:
        results = client.stream(drop(), batch_items=5, calls_at_once=3)
        beyond = list[int]()
        for number, _ in zip(range(200), results, strict=False):
            beyond.append(len(read) - number)
        results.close()  # pyright: ignore[reportAttributeAccessIssue]
        assert client.models.__doc__

    assert max(beyond) <= 5 * 3 + 1
    assert len(read) < 250


def silent_but_for_the_first(handler: Any, got: Got) -> None:
    (well if got.body["items"][0]["id"] == "t0" else silent)(handler, got)


def test_a_stream_of_the_asynchronous_client_that_is_left_leaves_no_call_behind() -> None:
    async def left() -> int:
        async with AsyncClient(faulty.address, timeout_s=30.0) as client:
            results = client.stream(texts(100), batch_items=1, calls_at_once=4)
            await anext(results)
            await results.aclose()  # pyright: ignore[reportAttributeAccessIssue]
            return len(asyncio.all_tasks())

    with faulty_service(*[silent_but_for_the_first] * 99) as faulty:
        assert asyncio.run(left()) == 1


def test_a_stream_that_is_left_lets_the_client_close_while_the_service_is_silent() -> None:
    with faulty_service(*[silent_but_for_the_first] * 99) as faulty, Client(faulty.address, timeout_s=1e6) as client:
        results = client.stream(texts(100), batch_items=1, calls_at_once=4)
        next(results)
        results.close()  # pyright: ignore[reportAttributeAccessIssue]


def test_a_client_that_is_closed_ends_what_is_in_flight_and_makes_no_more_calls() -> None:
    with faulty_service(*[silent_but_for_the_first] * 99) as faulty:
        with Client(faulty.address, timeout_s=1e6) as client:
            results = client.stream(texts(100), batch_items=1, calls_at_once=4)
            next(results)

        with pytest.raises((RuntimeError, CancelledError)):
            next(results)
        with pytest.raises(RuntimeError, match="the client is closed"):
            client.queues()

    assert len(faulty.got) > 1
    assert "prelabel-client" not in {thread.name for thread in threading.enumerate()}


def test_an_error_of_the_drop_is_the_drops_own_and_leaves_nothing_running() -> None:
    def drop() -> Iterator[Request]:
        yield from texts(4)
        raise OSError("the disk is gone")

    with faulty_service() as faulty, Client(faulty.address) as client:
        results = client.stream(drop(), batch_items=2, calls_at_once=1)
        found = [next(results).id for _ in range(2)]

        with pytest.raises(OSError, match="the disk is gone"):
            list(results)

    assert found == ["t0", "t1"]


def test_the_progress_counts_what_has_come() -> None:
    def some(got: Got) -> Any:
        answer = nothing_found(got)
        answer["results"][0] |= {"status": "failed", "error": {"code": "unreadable_image", "message": "cut off"}}
        return answer

    told = list[Tally]()
    with faulty_service(answers=some) as faulty, Client(faulty.address) as client:
        list(client.stream(texts(6), batch_items=3, progress=told.append))

    assert [tally.items for tally in told] == [1, 2, 3, 4, 5, 6]
    assert told[-1] == Tally(nothing_found=4, failed=2)


def test_the_progress_bar_shows_how_many_have_come_and_failed(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(10) as progress:
        progress(Tally(labels=3, failed=4))

    shown = capsys.readouterr().err
    assert "7/10" in shown
    assert "4 failed" in shown


def test_a_key_is_sent_and_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")

    with faulty_service(answers=lambda _: {"queues": []}) as faulty:
        assert os.environ["HTTP_PROXY"]
        with Client(faulty.address + "/", api_key="pl_key") as client:
            client.queues()
        with Client(faulty.address) as client:
            client.queues()

    assert [got.headers["Authorization"] for got in faulty.got] == ["Bearer pl_key", None]
    assert {got.path for got in faulty.got} == {"/v1/queues"}


def test_an_answer_that_was_lost_does_not_lease_twice(client: MakeCalls) -> None:
    with faulty_service(dropped) as faulty, pytest.raises(UnreachableError):
        client(faulty)("claim", "texts", reviewer="ada")

    assert len(faulty.got) == 1


def test_a_claim_that_was_refused_is_made_again(client: MakeCalls) -> None:
    with faulty_service(refused(429), answers=lambda _: {"tasks": []}) as faulty:
        assert client(faulty)("claim", "a/b c", reviewer="ada", n=3) == []

    assert [got.path for got in faulty.got] == ["/v1/queues/a%2Fb%20c/claim"] * 2
    assert faulty.got[1].body == {"reviewer": "ada", "n": 3, "lease_s": 600.0}


@pytest.mark.parametrize(
    ("method", "args", "kwargs", "key"),
    [
        ("submit", (7, ()), {"reviewer": "ada", "attempt": 1}, "idempotency_key"),
        ("post_run", ("/data/drop",), {"task": "ner"}, "run"),
        ("samples", (10,), {"task": "ner"}, "sample"),
    ],
)
def test_what_is_asked_again_names_itself_so_that_it_is_done_once(
    client: MakeCalls, method: str, args: tuple[Any, ...], kwargs: dict[str, Any], key: str
) -> None:
    fault = refused(409, code="seen", message="seen twice")

    with faulty_service(dropped, fault) as faulty, pytest.raises(ConflictError):
        client(faulty)(method, *args, **kwargs)

    assert len(faulty.got) == 2
    assert faulty.got[0].body[key] == faulty.got[1].body[key] != ""


def a_run(status: str) -> dict[str, Any]:
    counts = ("listed", "labels", "nothing_found", "failed", "accepted", "review", "retrying", "finished", "attempt")
    return dict.fromkeys(counts, 1) | {
        "id": "r",
        "name": "drop",
        "task": "ner",
        "status": status,
        "is_stopping": False,
        "source": {"drop": "/data"},
        "created_at": "2026-11-22T09:30:00Z",
        "finished_at": None,
        "reason": None,
        "is_listed": True,
        "items_per_s": None,
        "eta_s": None,
        "errors": [],
    }


def test_a_run_is_waited_for_with_longer_and_longer_pauses(client: MakeCalls) -> None:
    states = iter(["queued", "running", "running", "done"])
    told = list[str]()

    with faulty_service(answers=lambda _: a_run(next(states))) as faulty:
        calls = client(faulty)
        state = calls("wait", "r", progress=lambda state: told.append(state.status))

    assert state.status == "done"
    assert told == ["queued", "running", "running", "done"]
    assert calls.time.waits == [0.5, 0.75, 1.125]


def test_a_run_that_takes_longer_than_one_waits_goes_on(client: MakeCalls) -> None:
    with (
        faulty_service(answers=lambda _: a_run("running")) as faulty,
        pytest.raises(UnreachableError, match="running after 60") as caught,
    ):
        client(faulty)("wait", "r", timeout_s=60.0)

    assert caught.value.code == "timeout"


def test_all_pages_of_a_runs_results_come_one_after_another(client: MakeCalls) -> None:
    def pages(got: Got) -> Any:
        first = "after" not in got.path
        ids = ("a", "b") if first else ("c",)
        results = [{"id": one, "task": "ner", "status": "nothing_found"} for one in ids]
        return {"results": results, "next": "17" if first else None}

    with faulty_service(answers=pages) as faulty:
        results: Iterable[Result] = client(faulty)("results", "r")

    assert [result.id for result in results] == ["a", "b", "c"]
    assert [got.path for got in faulty.got] == [
        "/v1/runs/r/results?limit=100",
        "/v1/runs/r/results?limit=100&after=17",
    ]


def test_the_failures_of_a_run_can_be_asked_for_by_their_code(client: MakeCalls) -> None:
    error = {"id": "a", "uri": None, "code": "timeout", "message": "late", "attempts": 1, "is_retried": True}

    with faulty_service(answers=lambda _: {"errors": [error], "next": None}) as faulty:
        [found] = client(faulty)("errors", "r", code="timeout")

    assert (found.id, found.is_retried) == ("a", True)
    assert "code=timeout" in faulty.got[0].path


@pytest.mark.parametrize(("written", "read"), [(None, math.inf), (480.0, 480.0)])
def test_a_batch_without_a_budget_is_read_as_such(client: MakeCalls, written: float | None, read: float) -> None:
    counts = dict.fromkeys(("in_flight", "waiting", "items"), 0) | {"batch_sizes": {"4": 2}, "max_cost": written}
    engine = counts | dict.fromkeys(("prepare_s", "forward_s", "read_s", "cost", "padded_cost"), 0.5)
    names = dict.fromkeys(("name", "version", "adapter", "precision", "config_digest"), "x")
    model = names | {"task": "ner", "weights_digest": None, "ready": True, "problem": None, "engine": engine}

    with faulty_service(answers=lambda _: {"models": [model]}) as faulty:
        [found] = client(faulty)("models")

    assert found.engine.max_cost == read


def test_meta_and_prompts_travel_and_an_item_without_them_says_nothing_of_them() -> None:
    item = Item(id="a", media="image", uri="https://x/a.jpg", meta={"site": "b"}, prompts=Prompts(labels=("cat",)))

    with faulty_service() as faulty, Client(faulty.address) as client:
        client.pre_label([Request(item=item, task="segmentation"), a_request("b")])

    one, other = faulty.got[0].body["items"]
    assert one["meta"] == {"site": "b"}
    assert one["prompts"] == {"boxes": [], "points": [], "labels": ["cat"]}
    assert set(other) == {"id", "task", "text"}


def test_one_client_serves_many_threads() -> None:
    found = list[str]()

    with faulty_service() as faulty, Client(faulty.address) as client:

        def ask(number: int) -> None:
            [result] = client.pre_label([a_request(str(number))])
            found.append(result.id)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert sorted(found, key=int) == [str(number) for number in range(20)]


def test_a_closed_client_has_ended_its_thread() -> None:
    with faulty_service(answers=lambda _: {"queues": []}) as faulty:
        with Client(faulty.address) as client:
            client.queues()
            assert "prelabel-client" in {thread.name for thread in threading.enumerate()}

        assert "prelabel-client" not in {thread.name for thread in threading.enumerate()}


def test_a_client_of_ones_own_is_used_and_left_open() -> None:
    async def asked() -> bool:
        async with httpx.AsyncClient(headers={"X-Team": "a"}, trust_env=False) as own:
            async with AsyncClient(faulty.address, http=own) as client:
                await client.queues()
            return own.is_closed

    with faulty_service(answers=lambda _: {"queues": []}) as faulty:
        assert not asyncio.run(asked())

    assert faulty.got[0].headers["X-Team"] == "a"


def test_an_unknown_run_is_not_found(client: MakeCalls) -> None:
    fault = refused(404, code="not_found", message="no run 'r'")

    with faulty_service(fault) as faulty, pytest.raises(NotFoundError, match="no run 'r'"):
        client(faulty)("run", "r")
