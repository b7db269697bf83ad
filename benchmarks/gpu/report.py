"""Holds what was measured on a device."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.gpu.drift import Drift
from models.card import Precision
from models.types import Task

RESULTS = Path(__file__).parents[1] / "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSpeed:
    """Forward passes alone, over prepared samples: ``n`` passes after two that warm up.

    ``peak_mib`` is what torch allocated at most, weights included; ``device_mib`` what the whole device holds
    afterwards. ``mfu`` is the share of the matmul ceiling of the same precision; ``cost`` is the batch's, in the
    family's unit. ``is_compiled`` and ``has_graphs`` tell the
    card's options ``compile`` and ``graphs``.
    """

    precision: Precision
    is_compiled: bool
    has_graphs: bool
    batch_size: int
    cost: float
    n: int
    items_per_s: float
    median_ms: float
    mfu: float | None
    peak_mib: float | None
    device_mib: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpeed:
    """The engine and a plain loop over the same encoded items, in turn; items/s by round.

    The loop decodes, prepares, forwards and reads batch after batch in one thread. ``forward_share`` is how much of
    the engine's time the forward thread was busy, ``device_busy`` what nvidia-smi said of the device meanwhile.
    """

    items: int
    cpu_threads: int
    engine_items_per_s: tuple[float, ...]
    loop_items_per_s: tuple[float, ...]
    engine_over_loop: float
    engine_over_forward: float
    forward_share: float
    device_busy: float | None
    batch_sizes: dict[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderSpeed:
    """The engine over the same JPEGs, decoded on the device and by CPU threads, in turn; items/s by round."""

    items: int
    cpu_threads: int
    on_device_items_per_s: tuple[float, ...]
    by_threads_items_per_s: tuple[float, ...]
    on_device_over_threads: float


@dataclass(slots=True, kw_only=True)
class ModelReport:
    """Everything measured of one model.

    ``largest_cost`` is the ``limits.max_cost`` that its memory leaves room for within the card's share of the device.
    """

    task: Task
    model: str
    unit_of_cost: str
    gflop_per_item: float | None = None
    build_s: float | None = None
    largest_cost: float | None = None
    speeds: list[BatchSpeed] = field(default_factory=list)
    engine: EngineSpeed | None = None
    decoder: DecoderSpeed | None = None
    drifts: list[Drift] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class GpuReport:
    """Where it was measured, what, and what was left out and why."""

    device: str
    machine: dict[str, str | int | float]
    is_tiny: bool
    engine_alone: str
    ceiling_tflops: dict[Precision, float] = field(default_factory=dict)
    models: dict[Task, ModelReport] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    part_s: dict[str, float] = field(default_factory=dict)


def file_name(report: GpuReport) -> str:
    """gpu-<device>.json."""
    return f"gpu-{'-'.join(report.device.lower().split())}.json"


def as_json(report: GpuReport) -> str:
    return json.dumps(asdict(report), indent=1)


def save(report: GpuReport) -> Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / file_name(report)
    path.write_text(as_json(report) + "\n", encoding="utf-8")
    return path
