"""Checks that HAProxy opens one address only, and ends with its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from serving import haproxy

# As Ray Serve 2.60 writes it, shortened.
RAYS = """global
    log 127.0.0.1:514 local0 info
    stats socket /run/x/admin.sock mode 666 level admin expose-fd listeners
    maxconn 4096
defaults
    mode http
    log global
    errorfile 502 /run/x/500.http
    errorfile 503 /run/x/500.http
    balance leastconn
frontend prometheus
    bind :9101
    mode http
frontend http_frontend
    bind 127.0.0.1:8000
    acl is_gateway path_beg /
    use_backend gateway if is_gateway
backend gateway
    server r1 127.0.0.1:30000 check
listen stats
  bind *:8404
  stats enable
"""


def narrowed(configuration: str, host: str = "127.0.0.1") -> list[str]:
    text = haproxy.narrowed(configuration, host=host, unavailable_file="/run/x/503.http")
    return [line.strip() for line in text.splitlines()]


def test_only_the_front_listens() -> None:
    lines = narrowed(RAYS)

    assert [line for line in lines if line.startswith("bind")] == ["bind 127.0.0.1:8000"]
    assert not {"frontend prometheus", "listen stats", "stats enable"} & set(lines)


def test_the_front_listens_on_the_services_host() -> None:
    assert "bind 10.0.0.7:8000" in narrowed(RAYS, host="10.0.0.7")


def test_a_second_pass_changes_nothing() -> None:
    rays = RAYS.replace("server r1", "server SERVE_REPLICA_a")
    once = haproxy.narrowed(rays, host="127.0.0.1", unavailable_file="/run/x/503.http")

    assert haproxy.narrowed(once, host="127.0.0.1", unavailable_file="/run/x/503.http") == once


def test_health_is_answered_while_one_of_the_gateways_is_up() -> None:
    servers = "server SERVE_REPLICA_a 127.0.0.1:1 check\n    server SERVE_REPLICA_b 127.0.0.1:2 check\n"
    fallback = "    server SERVE_PROXY_ACTOR-c 127.0.0.1:3 check backup"

    lines = narrowed(RAYS.replace("server r1 127.0.0.1:30000 check", servers + fallback))

    assert [line for line in lines if "srv_is_up" in line] == [
        "acl prelabel_gateway_up srv_is_up(gateway/SERVE_REPLICA_a)",
        "acl prelabel_gateway_up srv_is_up(gateway/SERVE_REPLICA_b)",
    ]
    assert lines.index("acl prelabel_health path /healthz") < lines.index("backend gateway")
    assert not any("prelabel" in line for line in narrowed(RAYS))  # no gateway, no answer of ours


def test_what_does_not_open_anything_is_kept() -> None:
    lines = narrowed(RAYS)

    assert {"maxconn 4096", "server r1 127.0.0.1:30000 check", "use_backend gateway if is_gateway"} <= set(lines)
    assert "stats socket /run/x/admin.sock mode 600 level admin expose-fd listeners" in lines
    assert "errorfile 503 /run/x/503.http" in lines
    assert "log 127.0.0.1:514 local0 info" not in lines


@pytest.mark.parametrize("line", ["bind *:9000 proto h2", "bind :::9000 v4v6", "bind quic4@:443"])
def test_an_unknown_way_to_listen_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="not supported yet"):
        haproxy.narrowed(f"frontend http_frontend\n    {line}\n", host="127.0.0.1", unavailable_file="x")


def test_an_unknown_section_may_not_listen() -> None:
    with pytest.raises(ValueError, match="grpc_frontend"):
        haproxy.narrowed("frontend grpc_frontend\n    bind *:9000\n", host="127.0.0.1", unavailable_file="x")


def test_the_answer_without_a_backend_has_the_length_it_states() -> None:
    head, body = haproxy.UNAVAILABLE.split("\r\n\r\n")

    assert head.startswith("HTTP/1.1 503 ")
    assert f"Content-Length: {len(body)}" in head
    assert "Retry-After" in head


# A parent that starts the stand-in, tells its pid, and then only waits; the "haproxy" it becomes is sleep.
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-IS", sys.argv[1], "/bin/sleep", "127.0.0.1", "600"])
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_haproxy_dies_with_a_parent_that_is_killed() -> None:
    script = str(Path(haproxy.__file__))
    with subprocess.Popen([sys.executable, "-c", PARENT, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        while b"sleep" not in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")[0]:
            assert parent.poll() is None
        ended = os.pidfd_open(child)

        parent.send_signal(signal.SIGKILL)
        parent.wait()

    assert _is_readable(ended)


def _is_readable(pidfd: int) -> bool:
    """Whether a process ends within the test's time; its descriptor is readable then."""
    import select

    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    readable = bool(poll.poll(300_000))
    os.close(pidfd)
    return readable
