"""Reads files back with the libraries that their users have, each in an environment of its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
_ENVIRONMENTS = _HERE.parents[3] / ".venv-readers"


class Reader:
    """A program of this folder, running; it answers each request, a line of JSON, with a line of JSON."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, **request: Any) -> Any:
        """What the program says to a request.

        Raises:
            RuntimeError: the library could not read what it was given; the message is its traceback.
        """
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(request, default=str) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline() or '{"error": "the reader has ended"}')
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["answer"]


@contextmanager
def reader(environment: str, program: str) -> Iterator[Reader]:
    """Run ``program``_reader.py of this folder in ``.venv-readers/<environment>``, which 'make test' builds."""
    python = _ENVIRONMENTS / environment / "bin" / "python"
    assert python.exists(), f"{python} is missing; run 'make readers'"
    with reader_of(python, _HERE / f"{program}_reader.py") as running:
        yield running


@contextmanager
def reader_of(python: Path, program: Path) -> Iterator[Reader]:
    """Run a program that has a function ``read``, by the interpreter of any environment."""
    command = [str(python), "-u", str(_HERE / "serve.py"), str(program)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Reader(process)
        finally:
            assert process.stdin
            process.stdin.close()
