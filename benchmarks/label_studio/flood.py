"""Wants predictions for many tasks in one ``/predict``, kills the service meanwhile, and counts what Label Studio has.

In three forms. *Posted*: a plain client sends what Label Studio would send, and the service is killed in the middle of
the call, so that its answer never comes. *Retrieved*: Label Studio itself sends it ("Retrieve Predictions"), and the
service is killed when its answer has passed. *In part*: the same with a service that answers so soon that it has only
some of the predictions by then, and pushes the others while Label Studio still stores those of the answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, assert_never, get_args

import httpx

from benchmarks.label_studio import platform, subject, tasks
from benchmarks.label_studio.killable import Killable, killable
from benchmarks.label_studio.platform import Platform
from benchmarks.label_studio.relay import Exchange, Relay, relaying
from benchmarks.label_studio.stored import Stored

TASKS, QUICK_TASKS = 10_000, 600
_KILL_AT = 0.3  # of the tasks labelled, as far as the run has told, which it does once a second
_BEGINS_S, _TOO_MANY_PER_S = 1.5, 1_000.0  # until a run is under way; more than is labelled in a second on two cores
_LONGEST_WAIT_S = 1_200.0
_SETTLES_S = 70.0  # in which the service looks for what may have arrived four times, and polls once
_KILL_LOOK_S, _LOOK_S = 0.2, 2.0
_CLIENT_S = 100.0  # Label Studio waits so long (ML_TIMEOUT_PREDICT)

Form = Literal["posted", "retrieved", "in part"]
FORMS: tuple[Form, ...] = get_args(Form)  # in the order in which they are measured
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """What was killed, and what had come of the call by then.

    Attributes:
        at_s: since the call began.
        processes: how many were killed.
        left: how many processes of the service there were afterwards.
        labelled: tasks with an outcome, as far as the run had told.
        run_status: of the run, as it had told.
        stored: tasks with a prediction in Label Studio.
        restart_s: until the service was ready again.
    """

    at_s: float
    processes: int
    left: int
    labelled: int
    run_status: str
    stored: int
    restart_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Flood:
    """What came of one form; times are in seconds since the call began.

    Attributes:
        answer: what the sender got, or whoever had Label Studio send it: an HTTP status, or how it failed.
        first_answer_s: when the first answer had passed; None where none came.
        filled: how many of its slots held a prediction.
        attempts: how often the run was begun.
        all_stored_s: when every task had a prediction in Label Studio; None if that never was.
        found: the predictions in Label Studio some time later.
        counts: the same by Label Studio's API: predictions by their version.
    """

    form: Form
    tasks: int
    answer: str
    first_answer_s: float | None
    filled: int
    kill: Kill
    attempts: int
    all_stored_s: float | None
    found: Stored
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Floods:
    """All forms, and the release of Label Studio."""

    release: str
    floods: tuple[Flood, ...]


def measure(*, quick: bool, progress: Progress) -> Floods:
    """Every form, one after the other, against one Label Studio and a new service each.

    Raises:
        LabelStudioMissing: its environment has not been built.
    """
    n = QUICK_TASKS if quick else TASKS
    with platform.running() as label_studio:
        floods = [_flood(form, label_studio, n, progress) for form in FORMS]
        return Floods(release=label_studio.release(), floods=tuple(floods))


def _flood(form: Form, label_studio: Platform, n: int, progress: Progress) -> Flood:
    answer_s = _BEGINS_S + n / _TOO_MANY_PER_S if form == "in part" else None
    with killable(subject.configuration(answer_s=answer_s)) as service:
        progress(f"{form}: the service is ready after {service.start():.0f} s")
        return _Flooding(form, label_studio, service, n, progress).measure()


class _Flooding:
    """One form: a project of its own, a call for all of its tasks, a kill, a restart, and what is stored at the end."""

    def __init__(self, form: Form, label_studio: Platform, service: Killable, n: int, progress: Progress) -> None:
        self._form: Form = form
        self._label_studio, self._service, self._n = label_studio, service, n
        self._progress = progress
        self._project = label_studio.project(f"{n} texts, {form}", tasks.different_texts(n, name=form))
        self._connection = ""
        self._start_s = 0.0

    def measure(self) -> Flood:
        with relaying(self._service.address) as relay, ThreadPoolExecutor(1) as thread:
            self._connection = self._service.connect(self._label_studio, self._project, by=relay.address)
            send = self._sending()
            self._tell(f"one call for {self._n} tasks …")
            self._start_s = time.monotonic()
            call = thread.submit(send)
            kill = self._kill(self._awaited(call, relay))
            all_stored_s = self._all_stored_s()
            answer = call.result()
            time.sleep(_SETTLES_S)
            return self._counted(kill, answer, all_stored_s, relay)

    def _sending(self) -> Callable[[], str]:
        """What sends the call, or has Label Studio send it; it returns what the sender, or its user, was told."""
        match self._form:
            case "posted":
                url = f"{self._label_studio.backend_url(self._project)}/predict"
                body = tasks.predict_body(self._project.texts, project=self._project.uid)
                return lambda: _answer_of(lambda: _post(url, body))
            case "retrieved" | "in part":
                return lambda: _answer_of(lambda: self._label_studio.retrieve_predictions(self._project))
            case _:
                assert_never(self._form)

    def _awaited(self, call: Future[str], relay: Relay) -> dict[str, Any]:
        """Wait for the moment to kill; the state of the run then.

        Raises:
            RuntimeError: it did not come.
        """
        until = time.monotonic() + 2 * _CLIENT_S
        while time.monotonic() < until:
            if self._form != "posted":
                if _answered(relay):
                    return self._run()
            elif (run := self._run()) and run["finished"] >= _KILL_AT * self._n:
                return run
            if call.done() and not _answered(relay):
                raise RuntimeError(f"{self._form}: the call ended with {call.result()} before it was answered")
            time.sleep(_KILL_LOOK_S)
        raise RuntimeError(f"{self._form}: no moment to kill came; the service says {self._service.log()[-1000:]}")

    def _kill(self, run: dict[str, Any]) -> Kill:
        killed, at_s = self._service.kill(), self._now_s()
        left, stored = len(self._service.pids()), self._label_studio.stored(self._project).predicted
        labelled, status = int(run.get("finished", 0)), str(run.get("status", "unknown"))
        self._tell(f"{len(killed)} processes killed at {at_s:.1f} s; {labelled} labelled, {stored} stored by then")
        restart_s = self._service.start()
        self._tell(f"up again after {restart_s:.1f} s")
        return Kill(
            at_s=at_s,
            processes=len(killed),
            left=left,
            labelled=labelled,
            run_status=status,
            stored=stored,
            restart_s=restart_s,
        )

    def _all_stored_s(self) -> float | None:
        told_s = 0.0
        while (now_s := self._now_s()) < _LONGEST_WAIT_S:
            stored = self._label_studio.stored(self._project)
            if not stored.without:
                self._tell(f"all stored after {now_s:.1f} s")
                return now_s
            if now_s - told_s > 30.0:
                told_s = now_s
                self._tell(f"{stored.predicted} stored after {now_s:.0f} s")
            time.sleep(_LOOK_S)
        return None

    def _counted(self, kill: Kill, answer: str, all_stored_s: float | None, relay: Relay) -> Flood:
        first = min((one for one in relay.exchanges if one.ended_s is not None), key=_ended_s, default=None)
        return Flood(
            form=self._form,
            tasks=self._n,
            answer=answer,
            first_answer_s=None if first is None else _ended_s(first) - first.began_s,
            filled=0 if first is None else tasks.filled_slots(first.body)[0],
            kill=kill,
            attempts=int(self._run().get("attempt", 0)),
            all_stored_s=all_stored_s,
            found=self._label_studio.stored(self._project),
            counts=self._label_studio.prediction_counts(self._project),
        )

    def _run(self) -> dict[str, Any]:
        return self._service.run_of(self._connection) or {}

    def _now_s(self) -> float:
        return time.monotonic() - self._start_s

    def _tell(self, line: str) -> None:
        self._progress(f"{self._form}: {line}")


def _post(url: str, body: bytes) -> int:
    """Send a call as Label Studio does, and wait as long."""
    headers = {"Content-Type": "application/json"}
    return httpx.post(url, content=body, headers=headers, timeout=_CLIENT_S, trust_env=False).status_code


def _answer_of(send: Callable[[], int]) -> str:
    """The status that a call ended with, or how it failed."""
    try:
        return str(send())
    except httpx.HTTPError as err:
        return f"none ({type(err).__name__})"


def _answered(relay: Relay) -> bool:
    return any(one.ended_s is not None for one in relay.exchanges)


def _ended_s(exchange: Exchange) -> float:
    return float("inf") if exchange.ended_s is None else exchange.ended_s
