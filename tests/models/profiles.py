"""Builds profiles by hand, of a GPU that this machine does not have."""

from __future__ import annotations

from models.profile import BatchMemory
from models.profile_file import Profile

GIB = 2**30


def a_profile(**changes: object) -> Profile:
    """A model of 2 GiB on a GPU of 80, whose batches take 0.1 GiB for each unit of cost."""
    batches = tuple(
        BatchMemory(items=n, cost=float(n), peak_bytes=2 * GIB + n * GIB // 10, items_per_s=10.0 * n)
        for n in (1, 2, 4, 8, 16)
    )
    values: dict[str, object] = {
        "device": "Some GPU, 80 GiB",
        "device_bytes": 80 * GIB,
        "weights_digest": "a" * 64,
        "config_digest": "b" * 64,
        "items": "some items",
        "model_bytes": 2 * GIB,
        "batches": batches,
        "max_items": 16,
        "max_cost": 16.0,
        "num_gpus": 0.05,
    }
    return Profile(**values | changes)  # type: ignore[arg-type]
