"""Remembers why replicas died, so that a crash loop ends and says its reason."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import orjson

_WITHIN_S = 600.0
_SILENT = "it died without a word: killed, out of memory, or a crash in a library"


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """One death of a replica: seconds since the epoch, and why."""

    at_s: float
    reason: str


class CrashLog:
    """The deaths of one model's replicas on this node since the service started, in files of a folder of its own.

    A replica that is killed cannot write why. It leaves a file with its process id, which it takes away only in an
    orderly end; the next replica finds it.
    """

    def __init__(self, folder: Path, *, most: int, clock: Callable[[], float] = time.time) -> None:
        """
        Args:
            folder: where the files lie; made when needed.
            most: how many deaths within ten minutes are one too many.
            clock: seconds since the epoch.
        """
        self._folder, self._most, self._clock = folder, most, clock

    def began(self) -> None:
        """Note that this process lives, and every predecessor that died without a word."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for file in self._folder.glob("*.alive"):
            if not _is_alive(int(file.stem)):
                self.add(_SILENT)
                file.unlink(missing_ok=True)
        self._mark.touch()

    def ended(self) -> None:
        """Note that this process ends in good order, or has said why it ends."""
        self._mark.unlink(missing_ok=True)

    def add(self, reason: str) -> None:
        """Note a death."""
        self._folder.mkdir(parents=True, exist_ok=True)
        line = orjson.dumps({"at_s": self._clock(), "reason": reason}, option=orjson.OPT_APPEND_NEWLINE)
        with (self._folder / "crashes.jsonl").open("ab") as file:
            file.write(line)

    def recent(self) -> list[Crash]:
        """The deaths of the last ten minutes, oldest first."""
        with suppress(FileNotFoundError):
            lines = (self._folder / "crashes.jsonl").read_bytes().splitlines()
            crashes = [Crash(**orjson.loads(line)) for line in lines]
            return [crash for crash in crashes if crash.at_s > self._clock() - _WITHIN_S]
        return []

    def verdict(self) -> str | None:
        """Why no further replica shall be tried, or None if one may."""
        recent = self.recent()
        if len(recent) < self._most:
            return None
        return (
            f"it died {len(recent)} times in ten minutes and is not started again; the last time: {recent[-1].reason}"
        )

    @property
    def _mark(self) -> Path:
        return self._folder / f"{os.getpid()}.alive"


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
