"""Starts the whole service on this machine and ends it: PostgreSQL, a Ray cluster of its own, Serve."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path

from models.errors import ConfigError
from pipelines.store.embedded import embedded_postgres
from serving.app import build
from serving.settings import Settings, with_changes

# Serve's replicas reserve logical CPUs; the real ones are shared, so a small machine may run all models.
_MIN_LOGICAL_CPUS = 8
_OBJECT_STORE_BYTES = 256 * 2**20


@contextmanager
def running(settings: Settings) -> Iterator[str]:
    """The service, ready to answer; yields its address.

    The cluster is always a new one on this machine, so nobody else's is touched. Without ``store.url`` an embedded
    PostgreSQL is started first and stopped last.

    Raises:
        ConfigError: the port is taken, or a model cannot be deployed; the message says why.
    """
    with ExitStack() as stack:
        if settings.store.url is None:
            url = stack.enter_context(embedded_postgres(settings.store.folder.expanduser()))
            settings = with_changes(settings, "store", url=url)
        stack.enter_context(_ray(settings))
        _deploy(settings)
        yield f"http://{settings.server.host}:{settings.server.port}"


@contextmanager
def _ray(settings: Settings) -> Iterator[None]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    import ray
    from ray import serve

    ray.init(
        "local",
        num_cpus=max(_MIN_LOGICAL_CPUS, os.cpu_count() or 1),
        object_store_memory=_OBJECT_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    _hide_token()
    # Ray's own handler aborts the process, and PostgreSQL would run on; this one lets every step undo itself.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for name in ("ray", "ray.serve", "ray.data"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        serve.start(
            http_options={"host": settings.server.host, "port": settings.server.port},
            logging_config={"log_level": "WARNING", "enable_access_log": False},
        )
        yield
    finally:
        # Ray reports the controller's planned end as an error, and on standard output, where results go.
        with redirect_stdout(StringIO()):
            serve.shutdown()
            ray.shutdown()


def _deploy(settings: Settings) -> None:
    from ray import serve

    try:
        serve.run_many(build(settings))
    except RuntimeError as err:
        raise ConfigError(f"the service could not be deployed: {_reason(err)}") from err


def _reason(err: RuntimeError) -> str:
    """What the failed applications say, or what was raised."""
    from ray import serve

    messages = [app.message for app in serve.status().applications.values() if app.message]
    return " ".join(messages) or str(err)


def _hide_token() -> None:
    """Ray writes its token readable for all; nobody else on the machine needs it."""
    token = Path("~/.ray/auth_token").expanduser()
    if token.exists():
        token.chmod(0o600)
