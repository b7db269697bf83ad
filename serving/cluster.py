"""Starts the whole service on this machine and ends it: PostgreSQL, a Ray cluster of its own, Serve."""

from __future__ import annotations

import logging
import math
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from models.errors import ConfigError
from serving.app import LOGGING, build
from serving.local_cluster import local_cluster
from serving.profiles import gpu_shortage, profiled
from serving.ray_flags import LOOPBACK, flags
from serving.service import store_url
from serving.settings import ServerSettings, Settings, check_port, with_changes


@contextmanager
def running(settings: Settings) -> Iterator[str]:
    """The service, ready to answer; yields its address.

    The cluster is always a new one on this machine, so nobody else's is touched. Without ``store.url`` an embedded
    PostgreSQL is started first and stopped last.

    Raises:
        ConfigError: the port is taken, a model cannot be deployed, or there are too few GPUs; the message says why.
    """
    check_port(settings.server)
    settings = profiled(settings)
    _end_in_order()
    with store_url(settings) as url:
        settings = with_changes(settings, "store", url=url)
        with _ray(settings) as folder:
            _deploy(settings, folder)
            host = settings.server.host
            yield f"http://{f'[{host}]' if ':' in host else host}:{settings.server.port}"


def _end_in_order() -> None:
    """Let a SIGTERM undo every step of the start, as Ctrl-C does."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)


@contextmanager
def _ray(settings: Settings) -> Iterator[Path]:
    """A cluster of this start alone, and a folder for what it writes."""
    with tempfile.TemporaryDirectory(prefix="prelabel-", dir="/tmp") as folder:  # sockets need short paths
        os.environ.update(flags(settings.server, Path(folder)))
        with _cluster(settings):
            yield Path(folder)


@contextmanager
def _cluster(settings: Settings) -> Iterator[None]:
    # What the replicas reserve, at least: the real processors are shared, so a small machine may run all models.
    reserved = math.ceil(sum(card.num_cpus * card.replicas for card in settings.models))
    with local_cluster(num_cpus=max(os.cpu_count() or 1, reserved)):
        from ray import serve

        logging.getLogger("ray.serve").setLevel(logging.WARNING)  # to which the import has another opinion
        _end_in_order()  # Ray has put its own handler there, which aborts the process while PostgreSQL runs on
        try:
            serve.start(http_options=_http_options(settings.server), logging_config=LOGGING)
            yield
        finally:
            with redirect_stdout(StringIO()):  # where Ray reports the controller's planned end as an error
                serve.shutdown()


def _http_options(server: ServerSettings) -> dict[str, Any]:
    return {
        # Behind HAProxy, which listens on the service's host, everything of Serve is for this machine alone.
        "host": LOOPBACK if server.ingress == "haproxy" else server.host,
        "port": server.port,
        # Only what hangs gets there: the flow answers by its own deadline, at most this.
        "request_timeout_s": server.max_deadline_s + 30.0,
    }


def _deploy(settings: Settings, folder: Path) -> None:
    import ray
    from ray import serve

    if shortage := gpu_shortage(settings.models, gpus=ray.cluster_resources().get("GPU", 0.0)):
        raise ConfigError(f"the service could not be deployed: {shortage}")
    try:
        serve.run_many(build(settings, folder=folder))
    except RuntimeError as err:
        raise ConfigError(f"the service could not be deployed: {_reason(err)}") from err


def _reason(err: RuntimeError) -> str:
    """What the failed applications say, or what was raised."""
    from ray import serve

    messages = [app.message for app in serve.status().applications.values() if app.message]
    return " ".join(messages) or str(err)
