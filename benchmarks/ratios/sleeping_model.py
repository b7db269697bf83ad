"""Serves a model that only sleeps through the engine in Ray Serve replicas, and counts what they answer."""

from __future__ import annotations

import time
from collections import deque

from ray import serve
from ray.serve.handle import DeploymentHandle, DeploymentResponse

from benchmarks.sleeper import MAX_ITEMS, Sleeps
from models.card import BatchLimits
from models.engine import Engine
from models.types import Content, TextPayload


class SleepingModel:
    """One replica, as serving/deployments.py builds it, around a model without weights."""

    def __init__(self) -> None:
        import ray

        self._node = ray.get_runtime_context().get_node_id()
        limits = BatchLimits(max_items=MAX_ITEMS, max_queue=512)
        self._engine = Engine(Sleeps(), decode=lambda c: TextPayload(text=c.data.decode()), limits=limits)

    async def predict(self, content: Content) -> tuple[float, str]:
        """The number that was sent, and the node that read it."""
        prediction = await self._engine.predict(content)
        return prediction.signals["number"], self._node


def deployed(name: str, *, replicas: int) -> DeploymentHandle:
    """An application with so many replicas, no two of them on one node."""
    deployment = serve.deployment(
        num_replicas=replicas,
        max_replicas_per_node=1,
        max_ongoing_requests=512,
        ray_actor_options={"num_cpus": 0},
    )(SleepingModel)
    return serve.run(deployment.bind(), name=name, route_prefix=None)


def items_per_s(handle: DeploymentHandle, *, seconds: float, at_once: int) -> tuple[float, set[str]]:
    """Items answered per second with so many on their way all the time, and the nodes that answered.

    Raises:
        RuntimeError: an answer belongs to another item.
    """
    waiting: deque[tuple[int, DeploymentResponse]] = deque()
    nodes, sent, answered = set[str](), 0, 0
    start = time.perf_counter()
    while (elapsed_s := time.perf_counter() - start) < seconds:
        while len(waiting) < at_once:
            content = Content(media="text", data=str(sent).encode())
            response = handle.predict.remote(content)
            assert isinstance(response, DeploymentResponse)  # noqa: S101 - not a stream
            waiting.append((sent, response))
            sent += 1
        number, response = waiting.popleft()
        answer, node = response.result()
        if answer != number:
            raise RuntimeError(f"item {number} got the answer of item {answer:.0f}")
        nodes.add(node)
        answered += 1
    for _, response in waiting:
        response.result()
    return answered / elapsed_s, nodes
