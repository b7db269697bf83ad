"""Runs a worker as an actor of a Ray cluster."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ParamSpec, Protocol

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from models.errors import PrelabelError
from pipelines.prelabel import Request
from pipelines.types import Outcome
from pipelines.workers.needs import Needs
from pipelines.workers.pool import WorkerLostError

logger = logging.getLogger(__name__)

P = ParamSpec("P")

_PATIENCE_S = 30.0  # until it is said that the cluster has no room


class Labels(Protocol):
    """What runs in the actor (serving/drops/labeller.py)."""

    async def start(self) -> Mapping[str, str]: ...

    async def label(self, requests: Sequence[Request]) -> list[Outcome]: ...


class RayWorker:
    """An actor that labels; they are spread over the nodes."""

    def __init__(self, labels: Callable[P, Labels], needs: Needs, *args: P.args, **kwargs: P.kwargs) -> None:
        """``labels`` is the class of what runs in the actor, with its arguments."""
        actor: Any = ray.remote(num_cpus=needs.cpus, num_gpus=needs.gpus, scheduling_strategy="SPREAD")(labels)
        self._needs = needs
        self._actor = actor.remote(*args, **kwargs)

    async def start(self) -> Mapping[str, str]:
        starting = asyncio.ensure_future(self._actor.start.remote())
        try:
            while not (await asyncio.wait([starting], timeout=_PATIENCE_S))[0]:
                logger.warning("a worker waits for room on a node (%s), or loads its models", self._needs)
            with _told():
                return starting.result()
        except RayTaskError as err:
            if isinstance(err.cause, PrelabelError):
                raise err.cause from err
            raise WorkerLostError(_said(err)) from err
        finally:
            starting.cancel()  # where nobody waits for it any more

    async def label(self, requests: Sequence[Request]) -> Sequence[Outcome]:
        try:
            with _told():
                return await self._actor.label.remote(requests)
        except RayTaskError as err:  # its device, for one; what an item does wrong is an outcome
            raise WorkerLostError(_said(err)) from err

    async def end(self) -> None:
        ray.kill(self._actor)


@contextmanager
def _told() -> Iterator[None]:
    """Ray's word that an actor is gone, as the pool wants to hear it."""
    try:
        yield
    except RayActorError as err:
        raise WorkerLostError(_reason(err)) from err
    except RayTaskError:
        raise
    except RayError as err:
        raise WorkerLostError(type(err).__name__) from err


def _said(err: RayTaskError) -> str:
    return f"{type(err.cause).__name__}: {err.cause}"


def _reason(err: RayActorError) -> str:
    """Ray's own words, of which there are many, down to the sentence that says what happened."""
    said = [line.strip() for line in str(err).splitlines() if line.strip()]
    told = [line for line in said if "exit" in line.lower() or "killed" in line.lower() or "node" in line.lower()]
    return (told or said or [type(err).__name__])[-1][:300]
