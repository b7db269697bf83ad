"""Measures part after part of what a device does, within a time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np

from benchmarks import gpu_workload
from benchmarks.gpu.ceiling import ceiling_tflops
from benchmarks.gpu.drift import drift, scores_of
from benchmarks.gpu.engine_arm import EngineArm, decoder_for
from benchmarks.gpu.host import device_busy, device_name, device_of, free, machine, memory_mib, reset_peak
from benchmarks.gpu.repeated import repeated
from benchmarks.gpu.report import BatchSpeed, DecoderSpeed, EngineSpeed, GpuReport, ModelReport
from benchmarks.gpu.work import gflop_per_item
from benchmarks.ratio import interleaved
from models.adapter import Adapter
from models.card import ModelCard, Precision
from models.profile import BatchMemory, largest_cost
from models.types import MEDIA_OF_TASK, Task

BUDGET_S = 440.0


_PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "fp16")

_BATCH_SIZES = (1, 8, 32, 128)

_MEASURED_S = 1.0  # of each repeated thing, at least
# of each repeated thing, at least
_ROUNDS = 3

_UNITS: dict[Task, str] = {
    "detection": "megapixels",
    "segmentation": "megapixels",
    "ner": "tokens",
    "speech": "seconds",
}


class Unavailable(Exception):
    """A part cannot be measured here; the message says why."""


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
    bench = _Bench(device=device_of(device), tiny=tiny, only=only)
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
        free()
    return bench.report


class _Bench:
    """The parts of a run, and the report they fill."""

    def __init__(self, *, device: str, tiny: bool, only: Collection[Task]) -> None:
        self._device, self._tiny = device, tiny
        cards = gpu_workload.cards(tiny=tiny, device=device)
        self._cards: dict[Task, ModelCard] = {task: card for task, card in cards.items() if not only or task in only}
        ray = "installed" if find_spec("ray") else "not installed"
        self.report = GpuReport(
            device=device_name(device),
            machine=machine(),
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
            if MEDIA_OF_TASK[task] == "image":
                yield f"{task}: jpegs on the device", partial(self._compare_decoders, task)
        for task in self._cards:
            yield f"{task}: graphs", partial(self._measure_with, task, "graphs")
        for task in self._cards:
            yield f"{task}: compiled", partial(self._measure_with, task, "compile")

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
        report.gflop_per_item = gflop_per_item(card, adapter, samples, tiny=self._tiny)
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

    def _measure_with(self, task: Task, option: Literal["compile", "graphs"]) -> None:
        if self._device != "cuda" or task == "speech":
            raise Unavailable(f"the option {option} is measured for torch's families on CUDA")
        if task not in self.report.models:
            raise Unavailable("its speed could not be measured")
        card = self._cards[task]
        quicker = replace(card, options=card.options | {option: True})
        adapter = gpu_workload.build(quicker, tiny=self._tiny, precision=card.precision)
        report = self.report.models[task]
        report.speeds += self._speeds(
            adapter, self._samples(adapter, task), quicker, card.precision, report.gflop_per_item
        )

    def _samples(self, adapter: Adapter[Any, Any], task: Task) -> list[Any]:
        decode = decoder_for(adapter)
        found = gpu_workload.contents(task, count=2 if self._tiny else 16, tiny=self._tiny)
        return adapter.prepare([decode(content) for content in found])

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
                speed = self._batch_speed(adapter, batch, precision, gflop)
                options = {name: card.options.get(name) is True for name in ("compile", "graphs")}
                speeds.append(replace(speed, is_compiled=options["compile"], has_graphs=options["graphs"]))
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
        reset_peak()
        seconds = repeated(lambda: adapter.forward(batch), least_s=0.0 if self._tiny else _MEASURED_S)
        rate = len(batch) / statistics.median(seconds)
        ceiling = self.report.ceiling_tflops.get(precision)
        peak_mib, device_mib = memory_mib()
        return BatchSpeed(
            precision=precision,
            is_compiled=False,
            has_graphs=False,
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
        arm = self._arm(adapter, card, forward_rate)
        with device_busy(self._device) as busy:
            measured = interleaved(arm.engine, arm.loop, rounds=1 if self._tiny else _ROUNDS)
        return EngineSpeed(
            items=len(arm.items),
            cpu_threads=arm.cpu_threads,
            engine_items_per_s=measured.ours,
            loop_items_per_s=measured.peer,
            engine_over_loop=statistics.median(measured.ratios),
            engine_over_forward=statistics.median(measured.ours) / forward_rate,
            forward_share=arm.forward_share,
            device_busy=statistics.median(busy) if busy else None,
            batch_sizes=arm.batch_sizes,
        )

    def _arm(self, adapter: Adapter[Any, Any], card: ModelCard, forward_rate: float) -> EngineArm:
        """The engine over some four batches of items, and at most eight seconds of work."""
        most = min(4 * card.limits.max_items, card.limits.max_queue, max(int(forward_rate * 8), 8))
        count = 8 if self._tiny else most
        unlike = gpu_workload.contents(card.task, count=min(count, 32), tiny=self._tiny)
        items = [unlike[index % len(unlike)] for index in range(count)]
        return EngineArm(adapter, card, items, cpu_threads=2 if self._tiny else max(int(card.num_cpus), 1))

    def _compare_decoders(self, task: Task) -> None:
        if task not in self.report.models:
            raise Unavailable("its speed could not be measured")
        card, report = self._cards[task], self.report.models[task]
        own: Precision = card.precision if self._device == "cuda" else "fp32"
        decoding = replace(card, options=card.options | {"decode_on_device": True})
        adapters = [gpu_workload.build(either, tiny=self._tiny, precision=own) for either in (decoding, card)]
        best = max(speed.items_per_s for speed in report.speeds)
        on_device, by_threads = (self._arm(adapter, card, best) for adapter in adapters)
        measured = interleaved(on_device.engine, by_threads.engine, rounds=1 if self._tiny else _ROUNDS)
        report.decoder = DecoderSpeed(
            items=len(on_device.items),
            cpu_threads=on_device.cpu_threads,
            on_device_items_per_s=measured.ours,
            by_threads_items_per_s=measured.peer,
            on_device_over_threads=statistics.median(measured.ratios),
        )
        found, wanted = (self._scores_of(adapter, task, self._samples(adapter, task)) for adapter in adapters)
        report.drifts.append(drift("jpegs on the device", found, wanted))

    def _scores_of(self, adapter: Adapter[Any, Any], task: Task, samples: Sequence[Any]) -> np.ndarray:
        return np.concatenate([scores_of(task, adapter.forward([sample])) for sample in samples])

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
            self.report.models[task].drifts.append(drift(precision, self._scores(card, precision), exact))

    def _scores(self, card: ModelCard, precision: Precision) -> np.ndarray:
        """Scores of the same 16 items in a precision; its speed is noted on the way, unless it is known."""
        adapter = gpu_workload.build(card, tiny=self._tiny, precision=precision)
        samples, report = self._samples(adapter, card.task), self.report.models[card.task]
        if precision not in {speed.precision for speed in report.speeds}:
            report.speeds += self._speeds(adapter, samples, card, precision, report.gflop_per_item)
        scores = self._scores_of(adapter, card.task, samples)
        del adapter
        free()
        return scores
