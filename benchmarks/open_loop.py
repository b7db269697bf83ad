"""Sends HTTP requests when they are due, however the server does, from a process of its own, and counts what came."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from benchmarks.arrivals import Load
from benchmarks.load import answer_end, get_request, loop_factory, post_request
from benchmarks.scenarios.figures import percentile

_STATUS = re.compile(rb'"status":\s?"(\w+)"')
_CODE = re.compile(rb'"error":\s?\{"code":\s?"(\w+)"')
_SHED = (429, 503)
_OK = 200
_GOOD = ("ok", "labels", "nothing_found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is sent and when.

    Attributes:
        requests: kind and body of each, sent in turn and over again; without any, the requests are GETs.
        seed: of the Poisson arrivals; None for requests at equal distances.
        connections: how many are open at most; a request that is due waits for one of them.
        deadline_s: how long after it is due an answer is of use; a request that is not sent by then never is.
        patience_s: how long after it is sent an answer is waited for, before the request counts as unanswered.
    """

    address: str
    path: str
    rate_per_s: float
    seconds: float
    connections: int
    deadline_s: float
    patience_s: float
    requests: tuple[tuple[str, str], ...] = ()
    seed: int | None = None

    def times(self) -> list[float]:
        """Seconds from the start at which a request is due."""
        if self.seed is not None:
            return Load(rate=self.rate_per_s, seconds=self.seconds, seed=self.seed).times()
        return [number / self.rate_per_s for number in range(int(self.seconds * self.rate_per_s))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """How late something was, over all requests."""

    p50_ms: float
    p99_ms: float
    most_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What became of the requests.

    Attributes:
        not_sent: those whose deadline passed while every connection was taken.
        statuses: the answers by their HTTP status.
        shed: answers of 429 and 503 that say when to come back, by status.
        shed_bluntly: the same without Retry-After.
        unanswered: requests that were sent and not answered, by reason.
        outcomes: for each kind, what its items came to: an item's status, ``failed`` or the HTTP
            status with its code.
        good: answers with a result, in time.
        good_by_fifth: the same by when they were due, in five equal parts of the run.
        latencies_ms: of the answers of 200, from when the request was due.
        shed_ms: how long refused requests waited to hear it, from when they were due.
        lateness: of the sender itself, from when a request was due until it tried to send it.
        waits: of requests for a free connection.
    """

    scheduled: int
    not_sent: int
    statuses: dict[str, int]
    shed: dict[str, int]
    shed_bluntly: int
    unanswered: dict[str, int]
    outcomes: dict[str, dict[str, int]]
    good: int
    good_by_fifth: list[int]
    latencies_ms: list[float]
    shed_ms: Delays
    lateness: Delays
    waits: Delays

    @property
    def server_errors(self) -> int:
        """Answers of 5xx that are no refusals."""
        return sum(n for status, n in self.statuses.items() if int(status) >= 500 and int(status) not in _SHED)


class Sending:
    """A plan at work in another process."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self._process, self._folder = process, folder

    @property
    def is_done(self) -> bool:
        return self._process.poll() is not None

    def counted(self) -> Counted:
        """Wait for the end, and tell what came of it.

        Raises:
            RuntimeError: the process failed.
        """
        if self._process.wait():
            raise RuntimeError(f"the requests could not be sent: {(self._folder / 'log').read_text()[-1000:]}")
        content = json.loads((self._folder / "out").read_text())
        return Counted(**content | {name: Delays(**content[name]) for name in ("shed_ms", "lateness", "waits")})


@contextmanager
def sending(plan: Plan) -> Iterator[Sending]:
    """Send from a process of its own, so that making requests takes nothing from who measures."""
    with tempfile.TemporaryDirectory(prefix="open-loop-") as name:
        folder = Path(name)
        (folder / "in").write_text(json.dumps(asdict(plan)))
        command = [sys.executable, "-m", "benchmarks.open_loop"]
        with (folder / "in").open() as given, (folder / "out").open("w") as out, (folder / "log").open("w") as log:
            process = subprocess.Popen(command, stdin=given, stdout=out, stderr=log)  # noqa: S603 - our own program
            try:
                yield Sending(process, folder)
            finally:
                process.terminate()
                process.wait()


class _Connection(asyncio.Protocol):
    """One kept connection: a request, its answer, the next request."""

    def __init__(self) -> None:
        self.is_open = False
        self._answer: asyncio.Future[bytes] | None = None
        self._received = bytearray()
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is none by inheritance
        self.is_open = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("cut"))

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._answer is None or self._answer.done():
            return
        try:
            end = answer_end(self._received)
        except ValueError as err:
            self._answer.set_exception(err)
            self.close()
            return
        if end is not None:
            answer = bytes(self._received[:end])
            del self._received[:end]
            if b"\r\nconnection: close" in _head(answer):
                self.close()
            self._answer.set_result(answer)

    async def ask(self, request: bytes) -> bytes:
        if self._transport is None:
            raise ConnectionError("not connected")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        self.is_open = False
        if self._transport is not None:
            self._transport.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Due:
    """A request on its way, in seconds of the loop's clock and of the run."""

    at_s: float
    fifth: int
    kind: str
    content: bytes


class _Sender:
    """Keeps to the schedule, and hands what is due to the first free connection."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._url = plan, urlsplit(plan.address)
        self._due: asyncio.Queue[_Due | None] = asyncio.Queue()
        self._statuses, self._shed, self._unanswered = Counter[str](), Counter[str](), Counter[str]()
        self._outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._not_sent = self._shed_bluntly = 0
        self._good = [0] * 5
        self._latencies_s, self._shed_s = list[float](), list[float]()
        self._lateness_s, self._waits_s = list[float](), list[float]()

    async def run(self) -> Counted:
        workers = [asyncio.create_task(self._work()) for _ in range(self._plan.connections)]
        await self._keep_schedule()
        for _ in workers:
            self._due.put_nowait(None)
        await asyncio.gather(*workers)
        return self._counted()

    async def _keep_schedule(self) -> None:
        loop, requests = asyncio.get_running_loop(), itertools.cycle(self._requests())
        start_s = loop.time()
        for moment_s, (kind, content) in zip(self._plan.times(), requests, strict=False):
            at_s = start_s + moment_s
            if (rest_s := at_s - loop.time()) > 0:
                await asyncio.sleep(rest_s)
            self._lateness_s.append(loop.time() - at_s)
            fifth = min(4, int(5 * moment_s / self._plan.seconds))
            self._due.put_nowait(_Due(at_s=at_s, fifth=fifth, kind=kind, content=content))

    def _requests(self) -> list[tuple[str, bytes]]:
        host, path = self._url.netloc, self._plan.path
        posts = [(kind, post_request(host, path, body.encode())) for kind, body in self._plan.requests]
        return posts or [("GET", get_request(host, path))]

    async def _work(self) -> None:
        """Send one request after the other over one connection, opened anew when it has ended."""
        loop, connection = asyncio.get_running_loop(), _Connection()
        while (due := await self._due.get()) is not None:
            waited_s = loop.time() - due.at_s
            if waited_s > self._plan.deadline_s:
                self._not_sent += 1
                self._outcomes[due.kind]["not sent"] += 1
                continue
            self._waits_s.append(waited_s)
            try:
                async with asyncio.timeout(self._plan.patience_s):
                    if not connection.is_open:
                        connection = await self._connected()
                    answer = await connection.ask(due.content)
            except (TimeoutError, OSError, ValueError) as err:
                connection.close()
                self._unanswered[_reason(err)] += 1
                self._outcomes[due.kind]["unanswered"] += 1
            else:
                self._count(due, answer, loop.time() - due.at_s)
        connection.close()

    async def _connected(self) -> _Connection:
        loop, url = asyncio.get_running_loop(), self._url
        _, connection = await loop.create_connection(_Connection, url.hostname or "127.0.0.1", url.port or 80)
        return connection

    def _count(self, due: _Due, answer: bytes, latency_s: float) -> None:
        status, head = int(answer[9:12]), _head(answer)
        self._statuses[str(status)] += 1
        outcome = _outcome(status, answer)
        self._outcomes[due.kind][outcome] += 1
        if status in _SHED:
            self._shed_s.append(latency_s)
            if b"\r\nretry-after:" in head:
                self._shed[str(status)] += 1
            else:
                self._shed_bluntly += 1
        if status == _OK:
            self._latencies_s.append(latency_s)
            self._good[due.fifth] += outcome in _GOOD and latency_s <= self._plan.deadline_s

    def _counted(self) -> Counted:
        return Counted(
            scheduled=len(self._lateness_s),
            not_sent=self._not_sent,
            statuses=dict(self._statuses),
            shed=dict(self._shed),
            shed_bluntly=self._shed_bluntly,
            unanswered=dict(self._unanswered),
            outcomes={kind: dict(counts) for kind, counts in self._outcomes.items()},
            good=sum(self._good),
            good_by_fifth=self._good,
            latencies_ms=[round(1e3 * latency_s, 2) for latency_s in self._latencies_s],
            shed_ms=_delays(self._shed_s),
            lateness=_delays(self._lateness_s),
            waits=_delays(self._waits_s),
        )


def _head(answer: bytes) -> bytes:
    return answer[: answer.find(b"\r\n\r\n")].lower()


def _outcome(status: int, answer: bytes) -> str:
    """What the item came to, of an answer about one."""
    found, code = _STATUS.search(answer), _CODE.search(answer)
    outcome = str(status) if status != _OK else found[1].decode() if found else "unknown"
    return f"{outcome}: {code[1].decode()}" if code else outcome


def _reason(err: Exception) -> str:
    if isinstance(err, TimeoutError):
        return "no answer"
    return "refused" if isinstance(err, ConnectionRefusedError) else "cut" if isinstance(err, OSError) else "unreadable"


def _delays(delays_s: list[float]) -> Delays:
    p50, p99 = (1e3 * (percentile(delays_s, q) or 0.0) for q in (50, 99))
    return Delays(p50_ms=round(p50, 2), p99_ms=round(p99, 2), most_ms=round(1e3 * max(delays_s, default=0.0), 2))


def _main() -> None:
    spec = json.load(sys.stdin)
    plan = Plan(**spec | {"requests": tuple((kind, body) for kind, body in spec["requests"])})
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        counted = runner.run(_Sender(plan).run())
    json.dump(asdict(counted), sys.stdout)


if __name__ == "__main__":
    _main()
