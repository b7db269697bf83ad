"""Measures every model family on this machine's GPU: rates, matrix-unit use, memory, and what half precision changes.

It needs no download, no Ray and no service: full-size networks get random weights, items are generated, and the engine
runs alone. ``python -m benchmarks.gpu`` works where only torch, torchvision, transformers, pydantic, numpy and pillow
are installed; whatever a missing library rules out is left out with its reason.
"""

from __future__ import annotations

from benchmarks.gpu.command import main
from benchmarks.gpu.measurement import BUDGET_S, measure
from benchmarks.gpu.report import GpuReport, as_json, save
from benchmarks.gpu.table import table

__all__ = ["BUDGET_S", "GpuReport", "as_json", "main", "measure", "save", "table"]
