"""Looks at a Ray cluster's nodes: how many workers they have room for, and whether they reach the store."""

from __future__ import annotations

from typing import Any

import ray

from models.errors import ConfigError
from pipelines.workers.needs import Needs


def room_for(needs: Needs) -> int:
    """How many workers the nodes that are alive now hold together."""
    return sum(needs.fit(node["Resources"]) for node in _nodes())


def has_gpus() -> bool:
    """Whether a node that is alive now has any."""
    return any(node["Resources"].get("GPU") for node in _nodes())


def check_store(*, is_embedded: bool) -> None:
    """Make sure that every node can reach the store.

    Raises:
        ConfigError: it is embedded, and there are other machines.
    """
    own = ray.util.get_node_ip_address()
    others = sorted({node["NodeManagerAddress"] for node in _nodes()} - {own, "127.0.0.1"})
    if is_embedded and others:
        raise ConfigError(
            f"the embedded store cannot be reached from the cluster's other machines ({', '.join(others[:3])}); "
            "set store.url to a PostgreSQL that all of them reach"
        )


def _nodes() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]
