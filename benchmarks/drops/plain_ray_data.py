"""Labels a folder with plain Ray Data: ``python -m benchmarks.drops.plain_ray_data CONFIG FOLDER RESULTS``.

As its documentation advises: files are read as bytes in blocks of about a batch, one stateful actor holds the model and
gets several blocks ahead, and what is read streams into Parquet. The actor runs as many batches at the same time as
prelabel's engine has threads, so that one is decoded while another is in the network.
"""

from __future__ import annotations

import json
import logging
import math
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from benchmarks.drops.loop import card_in
from models.adapter import load
from models.media import decode
from models.types import Content, Prediction

_PREDICTION = TypeAdapter(Prediction)
_THREADS = 3  # the engine's: one in the network, two that decode and read
_LOGICAL_CPUS = (
    8  # an actor that holds every one leaves none for reading, and nothing ever ends (ray-project/ray#44687)
)
_FLAGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_worker_niceness": "0"}


class Labels:
    """The actor's class; an adapter's forward runs in one thread at a time."""

    def __init__(self, config: str) -> None:
        self._card = card_in(Path(config))
        self._adapter = load(self._card, Path(self._card.weights))
        self._forward = threading.Lock()

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        begun = time.monotonic()
        payloads = [decode(Content(media=self._card.media, data=data)) for data in batch["bytes"]]
        samples = self._adapter.prepare(payloads)
        with self._forward:
            raw = self._adapter.forward(samples)
        predictions = self._adapter.read(raw, payloads)
        return {
            "id": [Path(path).name for path in batch["path"]],
            "prediction": [_PREDICTION.dump_json(prediction).decode() for prediction in predictions],
            "begun_s": [begun] * len(payloads),
        }


def main() -> None:
    config, folder, results = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="plr", dir="/tmp") as temporary:
        os.environ.update(_FLAGS, RAY_TMPDIR=temporary)
        print(json.dumps(labelled(config, folder, results)))


def labelled(config: str, folder: str, results: str) -> dict[str, float]:
    """Label the folder; how many items, and the seconds from the first that the model got until all were written."""
    import pyarrow.parquet as pq
    import ray

    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    ray.init("local", num_cpus=_LOGICAL_CPUS, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        batch_size = card_in(Path(config)).limits.max_items
        blocks = math.ceil(sum(1 for _ in Path(folder).iterdir()) / batch_size)
        pool = ray.data.ActorPoolStrategy(
            size=1,
            max_tasks_in_flight_per_actor=2 * _THREADS,
            max_concurrent_calls_per_actor=_THREADS,
            enable_true_multi_threading=True,
        )
        files = ray.data.read_binary_files(folder, include_paths=True, override_num_blocks=blocks)
        found = files.map_batches(
            Labels, batch_size=batch_size, compute=pool, num_cpus=1, fn_constructor_kwargs={"config": config}
        )
        found.write_parquet(results)
        end = time.monotonic()  # of the machine, and so the same clock in every process
    finally:
        ray.shutdown()
    begun = pq.read_table(results, columns=["begun_s"])["begun_s"].to_pylist()
    return {"items": len(begun), "seconds": end - min(begun)}


if __name__ == "__main__":
    main()
