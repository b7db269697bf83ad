"""Measures every model family on this machine's GPU: rates, matrix-unit use, memory, and what half precision changes.

It needs no download, no Ray and no service: full-size networks get random weights, items are generated, and the engine
runs alone. ``python -m benchmarks.gpu`` works where only torch, torchvision, transformers, pydantic, numpy and pillow
are installed; whatever a missing library rules out is left out with its reason.
"""

from __future__ import annotations

import asyncio
import gc
import json
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import gpu_workload
from benchmarks.ratio import interleaved
from models.adapter import Adapter
from models.card import ModelCard, Precision
from models.engine import Engine
from models.profile import BatchMemory, largest_cost
from models.types import Content, Task

if TYPE_CHECKING:
    from rich.console import Group

BUDGET_S = 440.0
RESULTS = Path(__file__).parent / "results"

_LIBRARIES = (
    "torch",
    "torchvision",
    "transformers",
    "segment-anything",
    "faster-whisper",
    "ctranslate2",
    "ray",
    "numpy",
)
_PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "fp16")
_BATCH_SIZES = (1, 8, 32, 128)
_CEILING_SIDE = {"cuda": 8192, "cpu": 1024}
_MEASURED_S = 1.0  # of each repeated thing, at least
_ROUNDS = 3


class Unavailable(Exception):
    """A part cannot be measured here; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSpeed:
    """Forward passes alone, over prepared samples: ``n`` passes after two that warm up.

    ``peak_mib`` is what torch allocated at most, weights included; ``device_mib`` what the whole device holds
    afterwards. ``mfu`` is the share of the matmul ceiling of the same precision; ``cost`` is the batch's, in the
    family's unit. ``is_compiled`` tells the card's option ``compile``.
    """

    precision: Precision
    is_compiled: bool
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
class Drift:
    """How far scores lie from fp32's over the same items: largest and 99th percentile of the differences."""

    precision: Precision
    scores: int
    largest: float
    p99: float


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


def measure(
    *,
    device: str = "auto",
    tiny: bool = False,
    only: Collection[Task] = (),
    budget_s: float = BUDGET_S,
    progress: Callable[[str], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> GpuReport:
    """Measure part after part, what is worth most first, until the time is spent.

    Args:
        device: "cuda", "cpu", or "auto" for CUDA where there is one.
        tiny: the demo's networks and small items, to try the way itself.
        only: the tasks to measure; none for all of them.
        budget_s: no part begins after so many seconds.
        progress: is told of each part as it begins.
        clock: seconds that only grow.
    """
    bench = _Bench(device=_device(device), tiny=tiny, only=only)
    end = clock() + budget_s
    for name, part in bench.parts():
        if (begin := clock()) >= end:
            bench.report.skipped[name] = f"the {budget_s:.0f} s were spent"
            continue
        progress(name)
        try:
            part()
        except (Unavailable, ImportError) as err:
            bench.report.skipped[name] = str(err)
        except Exception as err:  # one model that breaks must not cost the figures of the others
            bench.report.skipped[name] = f"failed: {type(err).__name__}: {str(err)[:300]}"
        bench.report.part_s[name] = round(clock() - begin, 1)
        _free()
    return bench.report


class _Bench:
    """The parts of a run, and the report they fill."""

    def __init__(self, *, device: str, tiny: bool, only: Collection[Task]) -> None:
        self._device, self._tiny = device, tiny
        cards = gpu_workload.cards(tiny=tiny, device=device)
        self._cards: dict[Task, ModelCard] = {task: card for task, card in cards.items() if not only or task in only}
        ray = "installed" if find_spec("ray") else "not installed"
        self.report = GpuReport(
            device=_device_name(device),
            machine=_machine(),
            is_tiny=tiny,
            engine_alone=f"the engine runs in this process, without Ray, which is {ray}",
        )

    def parts(self) -> Iterator[tuple[str, Callable[[], None]]]:
        yield "ceiling", self._measure_ceiling
        for task in self._cards:
            yield f"{task}: speed", partial(self._measure_speed, task)
        for task in self._cards:
            yield f"{task}: precision", partial(self._compare_precisions, task)
        for task in self._cards:
            yield f"{task}: compiled", partial(self._measure_compiled, task)

    def _measure_ceiling(self) -> None:
        precisions: tuple[Precision, ...] = self._precisions() if self._device == "cuda" else ("fp32",)
        for precision in precisions:
            self.report.ceiling_tflops[precision] = ceiling_tflops(precision, device=self._device, tiny=self._tiny)

    def _precisions(self) -> tuple[Precision, ...]:
        """Half precision on a CPU is fp32; ``tiny`` compares them all the same, to try the way itself."""
        if self._device == "cuda":
            return _PRECISIONS
        return ("fp32", "bf16") if self._tiny else ("fp32",)

    def _measure_speed(self, task: Task) -> None:
        card = self._cards[task]
        own: Precision = card.precision if self._device == "cuda" else "fp32"
        begin = time.perf_counter()
        adapter = gpu_workload.build(card, tiny=self._tiny, precision=own)
        report = ModelReport(task=task, model=card.name, unit_of_cost=_UNITS[task])
        report.build_s = round(time.perf_counter() - begin, 1)
        self.report.models[task] = report
        samples = self._samples(adapter, task)
        report.gflop_per_item = self._gflop(card, adapter, samples)
        report.speeds += self._speeds(adapter, samples, card, own, report.gflop_per_item)
        report.largest_cost = self._largest_cost(card, report.speeds)
        best = max(speed.items_per_s for speed in report.speeds)
        report.engine = self._engine_speed(adapter, card, best)

    def _largest_cost(self, card: ModelCard, speeds: Sequence[BatchSpeed]) -> float | None:
        """None where torch does not count the memory, or where batches of one size only could be measured."""
        if self._device != "cuda" or card.task == "speech" or len(speeds) < 2:
            return None
        import torch

        measured = [
            BatchMemory(items=speed.batch_size, cost=speed.cost, peak_bytes=int(2**20 * (speed.peak_mib or 0.0)))
            for speed in speeds
        ]
        total_bytes = torch.cuda.get_device_properties(0).total_memory
        return largest_cost(measured, budget_bytes=int((card.num_gpus or 1.0) * total_bytes))

    def _measure_compiled(self, task: Task) -> None:
        if self._device != "cuda" or task == "speech":
            raise Unavailable("torch.compile is measured for torch's families on CUDA")
        if task not in self.report.models:
            raise Unavailable("its speed could not be measured")
        card = self._cards[task]
        compiled = replace(card, options=card.options | {"compile": True})
        adapter = gpu_workload.build(compiled, tiny=self._tiny, precision=card.precision)
        report = self.report.models[task]
        report.speeds += self._speeds(
            adapter, self._samples(adapter, task), compiled, card.precision, report.gflop_per_item
        )

    def _samples(self, adapter: Adapter[Any, Any], task: Task) -> list[Any]:
        from models.media import decode

        found = gpu_workload.contents(task, count=2 if self._tiny else 16, tiny=self._tiny)
        return adapter.prepare([decode(content) for content in found])

    def _gflop(self, card: ModelCard, adapter: Adapter[Any, Any], samples: Sequence[Any]) -> float | None:
        """The mean of the samples, counted; a text's is that of its tokens, padding left out."""
        if card.task == "speech":
            return None if self._tiny else whisper_encoder_gflop(card)
        from torch.utils.flop_counter import FlopCounterMode

        counted = samples[: 1 if self._tiny else 4]
        with _by_hand(adapter), FlopCounterMode(display=False) as counter:
            for sample in counted:
                adapter.forward([sample])
        return counter.get_total_flops() / len(counted) / 1e9

    def _speeds(
        self,
        adapter: Adapter[Any, Any],
        samples: Sequence[Any],
        card: ModelCard,
        precision: Precision,
        gflop: float | None,
    ) -> list[BatchSpeed]:
        speeds = list[BatchSpeed]()
        for size in self._batch_sizes(card):
            batch = [samples[index % len(samples)] for index in range(size)]
            try:
                is_compiled = card.options.get("compile") is True
                speed = self._batch_speed(adapter, batch, precision, gflop)
                speeds.append(replace(speed, is_compiled=is_compiled))
            except RuntimeError as err:
                if "out of memory" not in str(err):
                    raise
                self.report.skipped[f"{card.task}: batches of {size} in {precision}"] = "out of memory"
                break
        return speeds

    def _batch_sizes(self, card: ModelCard) -> list[int]:
        most = 2 if self._tiny else card.limits.max_items
        return sorted({min(size, most) for size in _BATCH_SIZES} | {most})

    def _batch_speed(
        self, adapter: Adapter[Any, Any], batch: Sequence[Any], precision: Precision, gflop: float | None
    ) -> BatchSpeed:
        for _ in range(1 if self._tiny else 2):
            adapter.forward(batch)
        _reset_peak()
        seconds = _repeated(lambda: adapter.forward(batch), least_s=0.0 if self._tiny else _MEASURED_S)
        rate = len(batch) / statistics.median(seconds)
        ceiling = self.report.ceiling_tflops.get(precision)
        peak_mib, device_mib = _memory_mib()
        return BatchSpeed(
            precision=precision,
            is_compiled=False,
            batch_size=len(batch),
            cost=round(sum(sample.cost for sample in batch), 3),
            n=len(seconds),
            items_per_s=rate,
            median_ms=1000 * statistics.median(seconds),
            mfu=rate * gflop / 1000 / ceiling if gflop and ceiling else None,
            peak_mib=peak_mib,
            device_mib=device_mib,
        )

    def _engine_speed(self, adapter: Adapter[Any, Any], card: ModelCard, forward_rate: float) -> EngineSpeed:
        count = (
            8 if self._tiny else min(4 * card.limits.max_items, card.limits.max_queue, max(int(forward_rate * 8), 8))
        )
        unlike = gpu_workload.contents(card.task, count=min(count, 32), tiny=self._tiny)
        items = [unlike[index % len(unlike)] for index in range(count)]
        threads = 2 if self._tiny else max(int(card.num_cpus), 1)
        arm = _EngineArm(adapter, card, items, cpu_threads=threads)
        with _device_busy(self._device) as busy:
            measured = interleaved(arm.engine, arm.loop, rounds=1 if self._tiny else _ROUNDS)
        return EngineSpeed(
            items=count,
            cpu_threads=threads,
            engine_items_per_s=measured.ours,
            loop_items_per_s=measured.peer,
            engine_over_loop=statistics.median(measured.ratios),
            engine_over_forward=statistics.median(measured.ours) / forward_rate,
            forward_share=arm.forward_share,
            device_busy=statistics.median(busy) if busy else None,
            batch_sizes=arm.batch_sizes,
        )

    def _compare_precisions(self, task: Task) -> None:
        card = self._cards[task]
        if task not in self.report.models:
            raise Unavailable("its speed could not be measured")
        others = list[Precision](precision for precision in self._precisions() if precision != "fp32")
        if not others:
            raise Unavailable("half precision falls back to fp32 on a CPU")
        if task == "speech":
            raise Unavailable("CTranslate2 converts a random network anew for each precision, which takes minutes")
        exact = self._scores(card, "fp32")
        for precision in others:
            gaps = np.abs(self._scores(card, precision) - exact)
            drift = Drift(
                precision=precision,
                scores=gaps.size,
                largest=float(gaps.max()),
                p99=float(np.quantile(gaps, 0.99)),
            )
            self.report.models[task].drifts.append(drift)

    def _scores(self, card: ModelCard, precision: Precision) -> np.ndarray:
        """Scores of the same 16 items in a precision; its speed is noted on the way, unless it is known."""
        adapter = gpu_workload.build(card, tiny=self._tiny, precision=precision)
        samples, report = self._samples(adapter, card.task), self.report.models[card.task]
        if precision not in {speed.precision for speed in report.speeds}:
            report.speeds += self._speeds(adapter, samples, card, precision, report.gflop_per_item)
        raws = [adapter.forward([sample]) for sample in samples]
        scores = np.concatenate([scores_of(card.task, raw) for raw in raws])
        del adapter
        _free()
        return scores


class _EngineArm:
    """Both ways to label the same items with one adapter; each call returns items per second."""

    def __init__(
        self, adapter: Adapter[Any, Any], card: ModelCard, items: Sequence[Content], *, cpu_threads: int
    ) -> None:
        self._adapter, self._card, self._items, self._threads = adapter, card, items, cpu_threads
        self.forward_share = 0.0
        self.batch_sizes: dict[int, int] = {}

    def engine(self) -> float:
        return asyncio.run(self._through_engine())

    async def _through_engine(self) -> float:
        from models.media import decode

        engine = Engine(self._adapter, decode=decode, limits=self._card.limits, cpu_threads=self._threads)
        try:
            begin = time.perf_counter()
            await asyncio.gather(*(engine.predict(item) for item in self._items))
            seconds = time.perf_counter() - begin
            stats = engine.stats()
            self.forward_share, self.batch_sizes = stats.forward_s / seconds, dict(stats.batch_sizes)
        finally:
            await engine.close()
        return len(self._items) / seconds

    def loop(self) -> float:
        from models.media import decode

        size, begin = self._card.limits.max_items, time.perf_counter()
        for first in range(0, len(self._items), size):
            payloads = [decode(item) for item in self._items[first : first + size]]
            self._adapter.read(self._adapter.forward(self._adapter.prepare(payloads)), payloads)
        return len(self._items) / (time.perf_counter() - begin)


_UNITS: dict[Task, str] = {
    "detection": "megapixels",
    "segmentation": "megapixels",
    "ner": "tokens",
    "speech": "seconds",
}


def scores_of(task: Task, raw: Any) -> np.ndarray:
    """Scores that can be compared one by one between precisions, whatever order a network gives its answers.

    A detector's queries change places when their scores hardly differ, so its best scores are compared in order of
    size; masks, tokens and windows keep their places.
    """
    match task:
        case "detection":
            return np.concatenate([np.sort(scores.max(axis=1))[::-1] for scores in raw.class_scores])
        case "segmentation":
            return np.concatenate([np.asarray(masks.predicted_ious) for masks in raw]).clip(0.0, 1.0)
        case "ner":
            return np.concatenate([probabilities.max(axis=1) for probabilities in raw.probabilities])
        case "speech":
            return np.array([transcript.no_speech for transcript in raw.transcripts])


def ceiling_tflops(precision: Precision, *, device: str, tiny: bool) -> float:
    """What one large matrix product reaches on the device, in TFLOP/s; fp32 without TF32, as cards in fp32 compute."""
    import torch

    side = 256 if tiny else _CEILING_SIDE[device]
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))

    def multiply() -> None:
        torch.mm(left, right)
        _synchronise(device)

    for _ in range(3):
        multiply()
    return 2 * side**3 / statistics.median(_repeated(multiply, least_s=0.0 if tiny else 0.5)) / 1e12


def whisper_encoder_gflop(card: ModelCard) -> float:
    """The encoder's multiplications and additions for one window of 30 s; decoding comes on top and is not counted."""
    from models.networks.whisper import LARGE_V3_TURBO

    sizes: dict[str, Any] = LARGE_V3_TURBO | card.architecture
    width, positions = sizes["d_model"], sizes["max_source_positions"]
    of_weights = 2 * positions * (4 * width**2 + 2 * width * sizes["encoder_ffn_dim"])
    of_attention = 4 * positions**2 * width
    return sizes["encoder_layers"] * (of_weights + of_attention) / 1e9


def _repeated(call: Callable[[], object], *, least_s: float, most: int = 200) -> list[float]:
    """Seconds of each call: one, or with ``least_s`` three of them, and more until that is reached."""
    seconds = list[float]()
    fewest = 3 if least_s else 1
    while len(seconds) < fewest or (sum(seconds) < least_s and len(seconds) < most):
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return seconds


@contextmanager
def _by_hand(adapter: Adapter[Any, Any]) -> Iterator[None]:
    """A segmenter's attention as its authors wrote it: the fused one computes more than the network asks for."""
    network = getattr(adapter, "_network", None)
    modules = (
        [] if network is None else [module for module in network.modules() if "Attention" in type(module).__name__]
    )
    replaced = {module: module.__dict__.pop("forward") for module in modules if "forward" in module.__dict__}
    try:
        yield
    finally:
        for module, forward in replaced.items():
            module.forward = forward


@contextmanager
def _device_busy(device: str) -> Iterator[list[float]]:
    """Shares of time that nvidia-smi saw a kernel run, five times a second; none without it."""
    busy = list[float]()
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-i", "0", "-lms", "200"]
    try:
        if device != "cuda":
            raise FileNotFoundError
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - fixed words
    except FileNotFoundError:
        yield busy
        return
    try:
        yield busy
    finally:
        process.terminate()
        lines = process.communicate()[0].split()
        busy += [float(line) / 100 for line in lines if line.isdigit()]


def _device(wanted: str) -> str:
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted


def _device_name(device: str) -> str:
    import torch

    return torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()


def _machine() -> dict[str, str | int | float]:
    import os

    import torch

    return {
        "cores": os.cpu_count() or 0,
        "load_average_1min": os.getloadavg()[0],
        "python": platform.python_version(),
        "cuda": str(getattr(torch.version, "cuda", None)),
        **{name: _version(name) for name in _LIBRARIES},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _synchronise(device: str) -> None:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def _reset_peak() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _memory_mib() -> tuple[float | None, float | None]:
    import torch

    if not torch.cuda.is_available():
        return None, None
    free, total = torch.cuda.mem_get_info()
    return torch.cuda.max_memory_allocated() / 2**20, (total - free) / 2**20


def _free() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def file_name(report: GpuReport) -> str:
    """gpu-<device>.json."""
    return f"gpu-{'-'.join(report.device.lower().split())}.json"


def as_json(report: GpuReport) -> str:
    return json.dumps(asdict(report), indent=1)


def table(report: GpuReport) -> Group:
    """The report as a person reads it."""
    from rich.console import Group
    from rich.table import Table

    ceiling = ", ".join(f"{name} {value:.3g}" for name, value in report.ceiling_tflops.items())
    grid = Table("model", "precision", "batch", "items/s", "× batch 1", "MFU", "peak MiB")
    grid.title, grid.title_justify = f"{report.device}; one large matrix product, TFLOP/s: {ceiling}", "left"
    for model in report.models.values():
        for row in _rows(model):
            grid.add_row(*row)
        grid.add_section()
    lines = [f"{model.model}: {line}" for model in report.models.values() for line in _summary(model)]
    left_out = [f"left out: {part}: {reason}" for part, reason in report.skipped.items()]
    return Group(grid, report.engine_alone, *lines, *left_out)


def _rows(model: ModelReport) -> Iterator[tuple[str, ...]]:
    alone = {speed.precision: speed.items_per_s for speed in model.speeds[::-1] if speed.batch_size == 1}
    for speed in model.speeds:
        yield (
            model.model,
            f"{speed.precision}{' compiled' if speed.is_compiled else ''}",
            str(speed.batch_size),
            f"{speed.items_per_s:.1f}",
            f"{speed.items_per_s / alone[speed.precision]:.2f}" if speed.precision in alone else "",
            "" if speed.mfu is None else f"{speed.mfu:.0%}",
            "" if speed.peak_mib is None else f"{speed.peak_mib:.0f}",
        )


def _summary(model: ModelReport) -> Iterator[str]:
    if engine := model.engine:
        yield (
            f"engine {statistics.median(engine.engine_items_per_s):.1f} items/s, {engine.engine_over_loop:.2f} × loop, "
            f"{engine.engine_over_forward:.2f} × forward alone, forward busy {engine.forward_share:.0%}"
        )
    for drift in model.drifts:
        yield f"{drift.precision} − fp32: p99 {drift.p99:.2g}, largest {drift.largest:.2g} of {drift.scores} scores"


def main() -> None:
    """Run without the command line's libraries: prints JSON, and saves it with --save."""
    import argparse
    import sys

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--only", nargs="*", choices=gpu_workload.TASKS, default=())
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--budget-s", type=float, default=BUDGET_S)
    asked = parser.parse_args()
    report = measure(
        device=asked.device,
        tiny=asked.tiny,
        only=asked.only,
        budget_s=asked.budget_s,
        progress=lambda part: print(part, file=sys.stderr, flush=True),
    )
    print(as_json(report))
    if asked.save:
        save(report)


def save(report: GpuReport) -> Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / file_name(report)
    path.write_text(as_json(report) + "\n", encoding="utf-8")
    return path


if __name__ == "__main__":
    main()
