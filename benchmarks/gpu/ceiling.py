"""Measures the most that a device multiplies."""

from __future__ import annotations

import statistics

from benchmarks.gpu.host import synchronise
from benchmarks.gpu.repeated import repeated
from models.card import Precision

_SIDE = {"cuda": 8192, "cpu": 1024}


def ceiling_tflops(precision: Precision, *, device: str, tiny: bool) -> float:
    """What one large matrix product reaches on the device, in TFLOP/s; fp32 without TF32, as cards in fp32 compute."""
    import torch

    side = 256 if tiny else _SIDE[device]
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))

    def multiply() -> None:
        torch.mm(left, right)
        synchronise(device)

    for _ in range(3):
        multiply()
    return 2 * side**3 / statistics.median(repeated(multiply, least_s=0.0 if tiny else 0.5)) / 1e12
