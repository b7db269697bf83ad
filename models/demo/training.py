"""What the trainings of the demo models share: a log, and a loop that keeps a moving average of the weights."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

Batch = TypeVar("Batch")

LOG_EVERY = 100
_MEMORY = 0.997  # of the moving average: the last few hundred steps count


class Log:
    """A file of one JSON object a line, each with the seconds since the start."""

    def __init__(self, path: Path) -> None:
        self._path, self._started = path, time.monotonic()
        path.write_text("", encoding="utf-8")

    def note(self, **values: object) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"seconds": round(time.monotonic() - self._started), **values}) + "\n")


def optimise(
    model: nn.Module,
    batches: Iterator[Batch],
    loss_of: Callable[[Batch], torch.Tensor],
    *,
    steps: int,
    peak_rate: float,
    warm_up_steps: int,
    weight_decay: float,
    log: Log,
    memory: float = _MEMORY,
) -> None:
    """Trains with AdamW, and leaves the moving average of the weights in the model.

    The learning rate climbs linearly to ``peak_rate``, then falls to zero along half a cosine. ``memory`` is what the
    average keeps of itself in each step: it looks back on about 1 / (1 - memory) of them.
    """

    def share_of_peak(step: int) -> float:
        return min((step + 1) / warm_up_steps, 0.5 * (1.0 + math.cos(math.pi * step / steps)))

    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(memory), use_buffers=True)
    optimiser = torch.optim.AdamW(model.parameters(), lr=peak_rate, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, share_of_peak)
    losses = list[float]()
    model.train()
    for step, batch in enumerate(islice(batches, steps), start=1):
        loss = loss_of(batch)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        averaged.update_parameters(model)
        losses.append(loss.item())
        if step % LOG_EVERY == 0:
            log.note(step=step, loss=round(float(np.mean(losses[-LOG_EVERY:])), 4))
    model.load_state_dict(averaged.module.state_dict())
