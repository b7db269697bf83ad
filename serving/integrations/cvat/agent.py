"""Works off a CVAT function's queue with the models of a running service.

Reference: cvat_cli 2.80, _internal/agent.py; beyond it, frames of a task are labelled many in one call, and a bad frame
fails alone.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from models.errors import ItemError, ModelError, OverloadedError, PrelabelError
from serving.client.errors import AnswerError, ServiceError, UnreachableError
from serving.integrations.cvat.errors import BadAnnotationRequestError, CvatError
from serving.integrations.cvat.function_queue import CATEGORIES, Assignment, Category, FunctionQueue
from serving.integrations.cvat.request import Worker
from serving.integrations.cvat.work import Work

logger = logging.getLogger(__name__)

_UPDATE_S = 30.0  # CVAT takes an agent that says nothing for longer for lost
_HOPELESS = frozenset({401, 403, 404})  # no key, no right, no such function


class StoppedError(PrelabelError):
    """The agent was told to end while it worked. Code: stopped."""

    def __init__(self) -> None:
        super().__init__("stopped", "the agent was stopped; ask again when one runs")


class Agent:
    """One agent. It does one request at a time, and lays a batch request aside for each interactive one that comes."""

    def __init__(self, queue: FunctionQueue, worker: Worker, work: Work, *, update_s: float = _UPDATE_S) -> None:
        self._queue, self._worker, self._work, self._update_s = queue, worker, work, update_s
        self._is_stopping = threading.Event()

    def stop(self) -> None:
        """Let ``run`` end soon; what it works on is given back as failed."""
        self._is_stopping.set()
        self._work.wake()

    def run(self, *, is_burst: bool = False) -> None:
        """Do requests until stopped, or with ``is_burst`` until none is left.

        Raises:
            CvatError: the function is not there, or not for this account.
        """
        while not self._is_stopping.is_set():
            for category in CATEGORIES:
                self._work_off(category)
            if is_burst:
                return
            self._work.wait(self._is_stopping.is_set)

    def _work_off(self, category: Category) -> None:
        if not self._work.take(category):
            return
        while not self._is_stopping.is_set() and (assignment := self._acquired(category)) is not None:
            self._do(assignment, category)
            if category == "batch":
                self._work_off("interactive")

    def _acquired(self, category: Category) -> Assignment | None:
        try:
            return self._queue.acquire(category)
        except CvatError as err:
            if err.status in _HOPELESS:
                raise
            logger.warning("no request of category %s can be acquired: %s", category, err.message)
            return None

    def _do(self, assignment: Assignment, category: Category) -> None:
        params = assignment.params
        logger.info("request %s: %s of task %s", assignment.id, params.get("type"), params.get("task"))
        try:
            with self._kept_alive(assignment) as progress:
                self._queue.complete(assignment.id, self._result(assignment, category, progress))
            logger.info("request %s is done", assignment.id)
        except Exception as err:
            logger.warning("request %s failed", assignment.id, exc_info=err)
            self._fail(assignment, reason(err))

    def _result(self, assignment: Assignment, category: Category, progress: list[float]) -> Mapping[str, Any]:
        def check_in(done: float) -> None:
            progress[0] = done
            if self._is_stopping.is_set():
                raise StoppedError
            if category == "batch":
                self._work_off("interactive")

        return self._worker.result(assignment.params, check_in)

    def _fail(self, assignment: Assignment, said: str) -> None:
        try:
            self._queue.fail(assignment.id, said)
        except PrelabelError as err:
            logger.warning("CVAT could not be told that request %s failed: %s", assignment.id, err.message)

    @contextmanager
    def _kept_alive(self, assignment: Assignment) -> Iterator[list[float]]:
        """Say now and then how far a request is; the progress stands in the list."""
        progress, is_over = [0.0], threading.Event()

        def beat() -> None:
            while not is_over.wait(self._update_s):
                try:
                    self._queue.update(assignment.id, progress=progress[0])
                except PrelabelError as err:
                    logger.info("CVAT does not take the progress of request %s: %s", assignment.id, err.message)

        beating = threading.Thread(target=beat, name="cvat-progress", daemon=True)
        beating.start()
        try:
            yield progress
        finally:
            is_over.set()
            beating.join()


def reason(err: Exception) -> str:
    """What may be said of a failure to whoever uses the function: no paths, no addresses, no text of other programs."""
    match err:
        case BadAnnotationRequestError():
            return f"Invalid annotation request: {err.message}"
        case CvatError(status=int(status)):
            return f"Received HTTP status {status}"
        case CvatError():
            return "Failed to make an HTTP request"
        case StoppedError():
            return "The agent was stopped"
        case ItemError(code="no_frame_labelled"):
            return err.message
        case ItemError() | ModelError():
            return f"The image could not be labelled ({err.code})"
        case OverloadedError():
            return "The labelling service is overloaded; try again later"
        case UnreachableError() | AnswerError():
            return "The labelling service does not answer"
        case ServiceError() | PrelabelError():
            return f"The labelling service refused ({err.code})"
        case _:
            return "Unknown error"
