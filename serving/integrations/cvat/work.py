"""Knows which categories of a queue may have work, told by the queue's event stream or by the clock.

While the stream stands, the queue says when something came. Without it, every ``poll_s`` seconds anything may have.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator

from models.errors import PrelabelError
from serving.integrations.cvat.event import Event, ReconnectAfter, events
from serving.integrations.cvat.function_queue import CATEGORIES, Category, FunctionQueue
from serving.integrations.cvat.pause import Pauses

logger = logging.getLogger(__name__)


class Work:
    """Where work may wait: everywhere at first, and wherever an event or the time since the last look says so.

    Args:
        poll_s: how often to look without an event stream.
        rarely_s: how often to look beside one, as an event may be lost.
    """

    def __init__(
        self, *, poll_s: float = 60.0, rarely_s: float = 600.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._poll_s, self._rarely_s, self._clock = poll_s, rarely_s, clock
        self._condition = threading.Condition()
        self._is_hinted: dict[Category, bool] = dict.fromkeys(CATEGORIES, True)
        self._looked = dict.fromkeys(CATEGORIES, clock())
        self.is_watched = False

    def take(self, category: Category) -> bool:
        """Whether to look for work of a category now; whoever asks looks."""
        with self._condition:
            is_due = self._is_hinted[category] or self._clock() >= self._looked[category] + self._interval_s()
            if is_due:
                self._is_hinted[category], self._looked[category] = False, self._clock()
            return is_due

    def hint(self, *categories: Category) -> None:
        """Something of these categories may wait."""
        with self._condition:
            for category in categories:
                self._is_hinted[category] = True
            self._condition.notify_all()

    def wait(self, stop: Callable[[], bool]) -> None:
        """Until a look is due, or it is time to stop."""
        with self._condition:
            due_s = min(self._looked.values()) + self._interval_s() - self._clock()
            self._condition.wait_for(lambda: stop() or any(self._is_hinted.values()), timeout=max(due_s, 0.0))

    def wake(self) -> None:
        with self._condition:
            self._condition.notify_all()

    def _interval_s(self) -> float:
        return self._rarely_s if self.is_watched else self._poll_s


class Watch:
    """A thread that reads a queue's events for as long as the context lasts, and connects again when they break off."""

    def __init__(self, queue: FunctionQueue, work: Work, *, pauses: Pauses, silence_s: float | None = 300.0) -> None:
        self._queue, self._work, self._pauses, self._silence_s = queue, work, pauses, silence_s
        self._stop = threading.Event()
        self._asked_s: float | None = None
        # It may sit in a read that nothing ends; it holds nothing that must be put away.
        self._thread = threading.Thread(target=self._run, name="cvat-watch", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()

    def _run(self) -> None:
        attempt = 0
        while not self._stop.is_set():
            try:
                with self._queue.watched(silence_s=self._silence_s) as lines:
                    self._work.is_watched, attempt = True, 0
                    self._work.hint(*CATEGORIES)  # something may have come before the stream stood
                    self._read(lines)
                logger.info("the queue's event stream ended; connecting again")
            except PrelabelError as err:
                logger.info("no event stream of the queue, so it is polled: %s", err.message)
            except Exception:
                logger.exception("the queue's event stream cannot be read, so the queue is polled")
            if self._work.is_watched:
                self._work.is_watched = False
                self._work.hint(*CATEGORIES)  # what came just now was not said
            pause_s = self._asked_s if self._asked_s is not None and not attempt else self._pauses.seconds(attempt)
            attempt += 1
            self._stop.wait(pause_s)

    def _read(self, lines: Iterator[str]) -> None:
        for message in events(lines):
            if self._stop.is_set():
                return
            match message:
                case ReconnectAfter(seconds=seconds):
                    self._asked_s = seconds
                case Event(type="newrequest", data=data):
                    self._note(data)
                case Event(type=kind):
                    logger.info("an event of a kind that prelabel does not know: %s", kind[:80])

    def _note(self, data: str) -> None:
        try:
            category = json.loads(data)["request_category"]
        except (ValueError, KeyError, TypeError):
            category = None
        match category:
            case "interactive" | "batch":
                self._work.hint(category)
            case _:  # what it is cannot be read, or is new: something came
                self._work.hint(*CATEGORIES)
