"""Names every comparison and finds the file that measures it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from importlib import import_module

from benchmarks.peers.environment import PeerMissing
from benchmarks.ratio import Ratio

# Stable names, in the order of the table. A comparison is benchmarks/ratios/NAME.py with measure(*, quick).
MODULES: dict[str, str] = {
    name: f"benchmarks.ratios.{name}"
    for name in (
        "service_over_bare",
        "engine_over_bare",
        "noop_http",
        "label_studio_predict",
        "ner_bucketed",
        "ner_gliner_serve",
        "ner_litserve",
        "ner_fastapi",
        "speech_batched",
        "late_binding",
        "two_nodes",
        "rle",
    )
}
# Further peers of what ner_gliner_serve compares; four more starts of a service, for which a quick run has no time.
FURTHER = frozenset({"ner_litserve", "ner_fastapi"})


def chosen(only: Collection[str], *, quick: bool) -> dict[str, str]:
    """The comparisons to run: those named, else all, in a quick run without the further peers."""
    return {
        name: module for name, module in MODULES.items() if (name in only if only else not (quick and name in FURTHER))
    }


def measure_of(module: str) -> Callable[..., Ratio]:
    """The ``measure(*, quick)`` of a comparison's module.

    Raises:
        PeerMissing: there is no such file in this version.
    """
    try:
        return import_module(module).measure
    except ModuleNotFoundError as err:
        if err.name != module:
            raise
        raise PeerMissing(f"there is no {module} in this version") from err
