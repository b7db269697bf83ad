"""Stands between Label Studio and the service, passes every byte on, and notes when ``/predict`` was answered."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from benchmarks.load import answer_end
from benchmarks.service import free_port

_CHUNK = 2**18
_CLOSES_S = 5.0


@dataclass(slots=True, kw_only=True)
class Exchange:
    """A call to ``/predict``; times are of the monotonic clock. ``body`` is the answer's, once it is complete."""

    began_s: float
    ended_s: float | None = None
    body: bytes = b""


class Relay:
    """Listens at ``address``, and talks to the service at another."""

    def __init__(self, to: str) -> None:
        self._to, self._port = urlsplit(to), free_port()
        self.address = f"http://127.0.0.1:{self._port}"
        self.exchanges = list[Exchange]()

    async def serve(self) -> asyncio.Server:
        return await asyncio.start_server(self._pass_on, "127.0.0.1", self._port)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, with one of its own to the service; when either ends, so does the other."""
        try:
            to_reader, to_writer = await asyncio.open_connection(self._to.hostname, self._to.port)
        except OSError:
            await _closed(writer)
            return
        open_exchanges = list[Exchange]()
        ways = [
            asyncio.create_task(self._ask(reader, to_writer, open_exchanges)),
            asyncio.create_task(self._answer(to_reader, writer, open_exchanges)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            await _closed(writer, to_writer)

    async def _ask(self, reader: asyncio.StreamReader, to: asyncio.StreamWriter, exchanges: list[Exchange]) -> None:
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                if is_predict(chunk):
                    exchanges.append(Exchange(began_s=time.monotonic()))
                    self.exchanges.append(exchanges[-1])
                to.write(chunk)
                await to.drain()

    async def _answer(self, reader: asyncio.StreamReader, to: asyncio.StreamWriter, exchanges: list[Exchange]) -> None:
        received = bytearray()
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                to.write(chunk)
                await to.drain()
                if exchanges and exchanges[-1].ended_s is None:
                    received += chunk
                    note(exchanges[-1], received, now_s=time.monotonic())


def is_predict(chunk: bytes) -> bool:
    """Whether a call to ``/predict`` begins here; Label Studio sends a call's head at the beginning of a chunk."""
    line = chunk[: chunk.find(b"\r\n")].split(b" ") if chunk.startswith(b"POST ") else []
    return len(line) > 1 and line[1].endswith(b"/predict")


def note(exchange: Exchange, received: bytearray, *, now_s: float) -> None:
    """Note the end of an exchange if all of its answer is received."""
    end = answer_end(received)
    if end is not None:
        exchange.ended_s, exchange.body = now_s, bytes(received[received.find(b"\r\n\r\n") + 4 : end])


@contextmanager
def relaying(to: str) -> Iterator[Relay]:
    """A relay in a thread of this process."""
    relay, loop = Relay(to), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(relay.serve(), loop).result()
    try:
        yield relay
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result(timeout=30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=30)
        loop.close()


async def _closed(*writers: asyncio.StreamWriter) -> None:
    """Close these once what was written has gone, or nobody reads it."""
    for writer in writers:
        writer.close()
    for writer in writers:
        with suppress(OSError):
            try:
                async with asyncio.timeout(_CLOSES_S):
                    await writer.wait_closed()
            except TimeoutError:
                writer.transport.abort()


async def _end(server: asyncio.Server) -> None:
    server.close()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
