"""Finds how many answers a second the load generator can count when the server costs nothing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from benchmarks.load import Load, loop_factory, send

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n" + b'{"status":"ok"}'


def measure(*, connections: int, seconds: float) -> float:
    """Answers per second from a server in a process of its own that parses nothing and always says the same."""
    with trivial_server() as address:
        return send(Load(address=address, path="/", connections=connections, seconds=seconds)).per_s


@contextmanager
def trivial_server() -> Iterator[str]:
    """A server that answers every packet with the same bytes; yields its address."""
    command = [sys.executable, "-m", "benchmarks.ceiling"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own program
        try:
            if process.stdout is None or not (port := process.stdout.readline().strip()):
                raise RuntimeError("the trivial server did not start")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


class _Trivial(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        self._transport.write(_ANSWER)


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Trivial, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve())
