"""Sends HTTP requests over kept connections from a process of its own, and counts the answers."""

from __future__ import annotations

import asyncio
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import cast
from urllib.parse import SplitResult, urlsplit

_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is sent, closed loop: every connection sends its next request on the answer to its last.

    Without ``seconds`` each body is sent once and the clock stops at the last answer. With ``seconds`` the bodies are
    repeated until then. Without ``bodies`` the requests are GETs. An answer that is not a 200, or that contains
    ``refused``, ends the run with an error, so that a fast server that fails cannot win.
    """

    address: str
    path: str
    connections: int
    bodies: tuple[str, ...] = ()
    seconds: float | None = None
    refused: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """How many answers came, in how long, and how long a request waited for its answer."""

    count: int
    seconds: float
    p50_ms: float
    p95_ms: float

    @property
    def per_s(self) -> float:
        return self.count / self.seconds


def send(load: Load) -> Answers:
    """Send a load from a process of its own, so that making requests takes nothing from who measures.

    Raises:
        RuntimeError: an answer was refused, or the server closed a connection.
    """
    command = [sys.executable, "-m", "benchmarks.load"]
    done = subprocess.run(  # noqa: S603 - our own program
        command, input=json.dumps(asdict(load)), capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise RuntimeError(f"the load could not be sent: {said[-1][:1000]}")
    return Answers(**json.loads(done.stdout))


class _Connection(asyncio.Protocol):
    """One kept connection: writes a request, reads its answer, writes the next.

    A server may close a kept connection while the next request is on its way (gunicorn does after two idle seconds);
    then the request goes over a new one, as HTTP clients do it, and the wait goes on.
    """

    def __init__(
        self, url: SplitResult, take: Callable[[], bytes | None], waits_s: list[float], refused: bytes
    ) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._url, self._take, self._waits_s, self._refused = url, take, waits_s, refused
        self._received = bytearray()
        self._request: bytes | None = None
        self._sent_s = 0.0
        self._has_answered = False  # on the connection there is now
        self._transport: asyncio.WriteTransport | None = None
        self._opening: asyncio.Task[None] | None = None

    async def open(self) -> None:
        await asyncio.get_running_loop().create_connection(
            lambda: self, self._url.hostname or "127.0.0.1", self._url.port or 80
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is none by inheritance

    def connection_lost(self, exc: Exception | None) -> None:
        if self.done.done():
            return
        if self._has_answered and not self._received:
            self._has_answered = False
            self._opening = asyncio.ensure_future(self._reopen())
            return
        self.done.set_exception(RuntimeError(f"the server closed a connection: {exc}"))

    async def _reopen(self) -> None:
        try:
            await self.open()
        except OSError as err:
            self._end(RuntimeError(f"the server closed a connection, and takes no other: {err}"))
            return
        if self._transport is not None and self._request is not None:
            self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        try:
            end = answer_end(self._received)
            if end is None:
                return
            if not self._received.startswith(b"HTTP/1.1 200") or (self._refused and self._refused in self._received):
                raise ValueError(f"refused this answer: {bytes(self._received[:600])!r}")
        except ValueError as err:
            self._end(RuntimeError(str(err)))
            return
        self._waits_s.append(time.perf_counter() - self._sent_s)
        del self._received[:end]
        self._has_answered = True
        self.send_next()

    def send_next(self) -> None:
        self._request = self._take()
        if self._request is None or self._transport is None:
            self._end(None)
            return
        self._sent_s = time.perf_counter()
        self._transport.write(self._request)

    def _end(self, error: RuntimeError | None) -> None:
        if not self.done.done():
            self.done.set_exception(error) if error else self.done.set_result(None)
        if self._transport is not None:
            self._transport.close()


def answer_end(received: bytes | bytearray) -> int | None:
    """Where the first answer ends, or None while it is not complete.

    Raises:
        ValueError: the head does not say how the body ends.
    """
    head_end = received.find(b"\r\n\r\n")
    if head_end < 0:
        return None
    head = bytes(received[:head_end]).lower()
    _, found, rest = head.partition(b"\r\ncontent-length:")
    if found:
        end = head_end + 4 + int(rest.split(b"\r\n", 1)[0])
        return end if end <= len(received) else None
    if b"\r\ntransfer-encoding: chunked" in head:
        return _chunks_end(received, head_end + 4)
    raise ValueError(f"an answer without a length: {head[:300]!r}")


def _chunks_end(received: bytes | bytearray, start: int) -> int | None:
    """Where the last of the chunks that begin at ``start`` ends, or None while it is not there (RFC 9112, 7.1)."""
    while (line_end := received.find(b"\r\n", start)) >= 0:
        size = int(bytes(received[start:line_end]).split(b";")[0], 16)
        start = line_end + 2 + size + 2
        if not size:
            return start if start <= len(received) else None
    return None


def requests_of(load: Load) -> Iterator[bytes]:
    """The requests in their order, as bytes: each once, or for ever when the load has an end in time."""
    host = urlsplit(load.address).netloc
    if load.bodies:
        encoded = [body.encode() for body in load.bodies]
        requests = [post_request(host, load.path, body) for body in encoded]
    else:
        requests = [get_request(host, load.path)]
    return iter(requests) if load.seconds is None else itertools.cycle(requests)


def get_request(host: str, path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def post_request(host: str, path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


async def _run(load: Load) -> Answers:
    url = urlsplit(load.address)
    requests, waits_s = requests_of(load), list[float]()
    end_s = float("inf")

    def take() -> bytes | None:
        return next(requests, None) if time.perf_counter() < end_s else None

    connections = [_Connection(url, take, waits_s, load.refused.encode()) for _ in range(load.connections)]
    for connection in connections:
        await connection.open()
    start_s = time.perf_counter()
    if load.seconds is not None:
        end_s = start_s + load.seconds
    for connection in connections:
        connection.send_next()
    await asyncio.gather(*(connection.done for connection in connections))
    seconds = time.perf_counter() - start_s
    if not waits_s:
        raise RuntimeError(f"no answer came within {seconds:.1f} s")
    cuts = statistics.quantiles(waits_s, n=20, method="inclusive") if len(waits_s) > 1 else waits_s * 19
    return Answers(count=len(waits_s), seconds=seconds, p50_ms=1e3 * cuts[9], p95_ms=1e3 * cuts[18])


def _main() -> None:
    spec = json.load(sys.stdin)
    load = Load(**spec | {"bodies": tuple(spec["bodies"])})
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        answers = runner.run(_run(load))
    json.dump(asdict(answers), sys.stdout)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed: about twice the requests of asyncio's own loop."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    _main()
