"""Stands in for the haproxy program: keeps it on the service's own address, and ends it with its parent.

Ray Serve writes HAProxy's configuration and runs the program at each start and reload; serving/ray_flags.py makes it
run this file instead, with the standard library alone. The process then becomes HAProxy, so Ray sees no difference.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

_PR_SET_PDEATHSIG = 1
# Statistics and metrics for everybody on all interfaces, without a key; Ray itself asks over the admin socket.
_OPEN_SECTIONS = frozenset({"listen stats", "frontend prometheus"})
_FRONT = "frontend http_frontend"
_BODY = '{"error":{"code":"not_ready","message":"the service does not answer yet; try again later"}}'
_HEALTH, _UP = "prelabel_health", "prelabel_gateway_up"
UNAVAILABLE = (
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 2\r\n"
    f"Content-Length: {len(_BODY)}\r\nConnection: close\r\n\r\n{_BODY}"
)


def narrowed(configuration: str, *, host: str, unavailable_file: str) -> str:
    """HAProxy's configuration as Ray wrote it, with one open address left.

    The front listens on ``host`` and its port, statistics and metrics not at all, only the owner may use the admin
    socket, requests are not sent to the system's log, and a missing backend gives our 503 instead of a bare 500.
    While a gateway passes HAProxy's own checks, HAProxy answers /healthz in its place, however much it has to do.

    Raises:
        ValueError: a bind line is unknown, so what it would open is too; Ray has changed its template.
    """
    section, kept = "", []
    for line in configuration.splitlines():
        if line and not line[0].isspace() and not line.startswith("#"):
            section = line.strip()
        if section in _OPEN_SECTIONS or _HEALTH in line or _UP in line:
            continue
        if line.split()[:1] == ["bind"]:
            line = _bind(line, section, host)
        line = re.sub(r"^(\s*stats socket \S+ mode) 666\b", r"\1 600", line)
        line = re.sub(r"^(\s*errorfile 50[234]) .*", lambda m: f"{m[1]} {unavailable_file}", line)
        if not (section == "global" and line.split()[:1] == ["log"]):
            kept.append(line)
        if section == _FRONT and line.split()[:1] == ["bind"]:
            kept += _health_rules(configuration)
    return "\n".join(kept) + "\n"


def _health_rules(configuration: str) -> list[str]:
    """What answers /healthz while a replica of the gateway is up; Ray's own proxy, the last resort, is none.

    It answers under any Host, which a gateway without keys would not; it tells nothing but that the service is there.
    """
    replicas = re.findall(r"^backend (\S+)$|^\s+server (SERVE_REPLICA_\S+) ", configuration, re.MULTILINE)
    backend, rules = "", list[str]()
    for name, replica in replicas:
        backend = name or backend
        rules += [f"    acl {_UP} srv_is_up({backend}/{replica})"] if replica else []
    if not rules:
        return []
    answer = r'''status 200 content-type application/json string "{\"status\":\"ok\"}"'''
    return [f"    acl {_HEALTH} path /healthz", *rules, f"    http-request return {answer} if {_HEALTH} {_UP}"]


def _bind(line: str, section: str, host: str) -> str:
    match = re.fullmatch(r"\s*bind [\w.:-]*:(\d+)", line)
    if section != _FRONT or match is None:
        raise ValueError(f"unknown line in {section!r}: {line.strip()!r}; this release of Ray is not supported yet")
    return f"    bind {host}:{match[1]}"


def _end_with_parent(parent: int) -> None:
    """Let the kernel kill this process when its parent dies; it stays so through exec."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before
        raise SystemExit(1)


def _configurations(arguments: Sequence[str]) -> Iterator[Path]:
    return (Path(value) for flag, value in pairwise(arguments) if flag == "-f")


def main(program: str, host: str, *arguments: str) -> None:
    """Narrow every configuration among the arguments, then become the program."""
    _end_with_parent(os.getppid())
    for file in _configurations(arguments):
        unavailable = file.with_name("503.http")
        unavailable.write_text(UNAVAILABLE, newline="")
        file.write_text(narrowed(file.read_text(), host=host, unavailable_file=str(unavailable)))
    os.execv(program, [program, *arguments])  # noqa: S606 - Ray's own HAProxy, with Ray's arguments


if __name__ == "__main__":
    main(*sys.argv[1:])
