"""Checks that the GPU benchmark goes its whole way on a CPU, with the demo's networks, and with little installed."""

from __future__ import annotations

import json
import subprocess
import sys
from io import StringIO
from itertools import count

import pytest
from rich.console import Console

from benchmarks import gpu, gpu_workload
from benchmarks.gpu import GpuReport
from models.types import Task

pytestmark = pytest.mark.timeout(1_200)  # two whole runs; on a machine whose memory others use up they are slow

NEVER_NEEDED = ("ray", "rich", "typer", "orjson", "httpx", "sqlalchemy", "av", "soundfile", "pycocotools", "scipy")
NEEDED_BY_SPEECH = ("faster_whisper", "ctranslate2")


@pytest.fixture(scope="module")
def report() -> GpuReport:
    return gpu.measure(device="cpu", tiny=True)


def test_every_part_is_measured(report: GpuReport) -> None:
    on_cuda_only = {f"{task}: {option}" for task in gpu_workload.TASKS for option in ("graphs", "compiled")}
    left_out = {"speech: precision", *on_cuda_only}

    assert report.skipped.keys() == left_out
    assert report.models.keys() == set(gpu_workload.TASKS)
    assert report.ceiling_tflops["fp32"] > 0.0


def test_every_model_has_rates_by_batch_and_through_the_engine(report: GpuReport) -> None:
    for model in report.models.values():
        assert [speed.batch_size for speed in model.speeds if speed.precision == "fp32"] == [1, 2]
        assert all(speed.items_per_s > 0.0 and speed.cost > 0.0 for speed in model.speeds)
        assert model.engine is not None
        assert sum(size * times for size, times in model.engine.batch_sizes.items()) == model.engine.items
        assert 0.0 < model.engine.forward_share <= 1.0


def test_work_is_counted_and_set_against_the_ceiling(report: GpuReport) -> None:
    for task in ("detection", "segmentation", "ner"):
        model = report.models[task]
        assert model.gflop_per_item is not None
        assert model.gflop_per_item > 0.0
        assert all(speed.mfu is not None for speed in model.speeds if speed.precision == "fp32")


def test_half_precision_on_a_cpu_changes_no_score(report: GpuReport) -> None:
    for task in ("detection", "segmentation", "ner"):
        drift = report.models[task].drifts[0]
        assert (drift.what, drift.largest) == ("bf16", 0.0)
        assert drift.scores > 0


@pytest.mark.parametrize("task", ["detection", "segmentation"])
def test_decoding_on_the_device_is_set_against_decoding_by_threads(report: GpuReport, task: Task) -> None:
    model = report.models[task]
    assert model.decoder is not None
    assert model.decoder.items > 0
    assert model.decoder.on_device_over_threads > 0.0
    assert (model.drifts[1].what, model.drifts[1].largest < 0.02) == ("jpegs on the device", True)


def test_the_report_can_be_stored_and_shown(report: GpuReport) -> None:
    screen = Console(file=StringIO(), width=160)
    screen.print(gpu.table(report))

    stored = json.loads(gpu.as_json(report))
    assert stored["models"]["ner"]["speeds"][0]["batch_size"] == 1
    assert "shapes-detector" in screen.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]


def test_no_part_begins_once_the_time_is_spent() -> None:
    hours = count(step=3600)

    report = gpu.measure(device="cpu", tiny=True, budget_s=1.0, clock=lambda: float(next(hours)))

    assert report.models == {}
    assert set(report.skipped.values()) == {"the 1 s were spent"}
    assert len(report.skipped) == 1 + 4 * len(gpu_workload.TASKS) + len(("detection", "segmentation"))


def test_missing_libraries_cost_only_what_needs_them() -> None:
    blocked = ", ".join(f"{name}=None" for name in (*NEVER_NEEDED, *NEEDED_BY_SPEECH))
    program = f"import sys; sys.modules.update({blocked}); from benchmarks import gpu; gpu.main()"
    command = [sys.executable, "-c", program, "--tiny", "--device", "cpu", "--only", "ner", "speech"]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["models"]["ner"]["engine"]["engine_over_loop"] > 0.0
    assert any(name in report["skipped"]["speech: speed"] for name in NEEDED_BY_SPEECH)
