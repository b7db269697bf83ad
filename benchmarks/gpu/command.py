"""Runs the measurement without the libraries of the command line."""

from __future__ import annotations

import argparse
import sys

from benchmarks import gpu_workload
from benchmarks.gpu.measurement import BUDGET_S, measure
from benchmarks.gpu.report import as_json, save


def main() -> None:
    """Run without the command line's libraries: prints JSON, and saves it with --save."""
    parser = argparse.ArgumentParser(description=measure.__doc__)
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
