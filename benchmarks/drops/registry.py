"""Names every measurement of the batch job."""

from __future__ import annotations

from collections.abc import Collection

# Stable names, in the order of the table. A measurement is benchmarks/drops/NAME.py with measure(*, quick), as those of
# benchmarks/ratios are.
MODULES: dict[str, str] = {
    name: f"benchmarks.drops.{name}"
    for name in ("speech", "images", "few_items", "two_nodes", "many_ids", "memory", "ray_data")
}


def chosen(only: Collection[str]) -> dict[str, str]:
    """Those named, else all."""
    return {name: module for name, module in MODULES.items() if not only or name in only}
