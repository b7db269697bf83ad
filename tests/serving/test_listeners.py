"""Checks what is read from /proc about listening sockets."""

from __future__ import annotations

import os
import socket
import sys

import pytest

from serving import listeners

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")


@pytest.mark.parametrize(
    ("family", "host", "is_loopback"),
    [
        (socket.AF_INET, "127.0.0.1", True),
        (socket.AF_INET6, "::1", True),
        (socket.AF_INET6, "::ffff:127.0.0.1", True),
        (socket.AF_INET, "0.0.0.0", False),  # noqa: S104 - nothing is served there
        (socket.AF_INET6, "::", False),
    ],
)
def test_a_listening_socket_is_found_with_its_address(family: int, host: str, is_loopback: bool) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as server:
        server.bind((host, 0))
        server.listen()
        port = server.getsockname()[1]

        [found] = [listener for listener in listeners.of_tree(os.getpid()) if listener.port == port]

        assert (found.pid, found.is_loopback) == (os.getpid(), is_loopback)
        assert listeners.owner(port, program="py") is not None


def test_a_bound_socket_that_does_not_listen_is_none() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))

        assert server.getsockname()[1] not in {listener.port for listener in listeners.of_tree(os.getpid())}
