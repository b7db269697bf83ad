"""Checks that the batch job and its peer found the same in every item."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
from pydantic import TypeAdapter

from benchmarks.ratios.arms import ArmsDiffer, check_alike, check_equal
from models.types import Prediction
from pipelines.formats import parquet

_PREDICTION = TypeAdapter(Prediction)


def agreed(out: Path, results: Path) -> int:
    """How many labels both found, the same ones.

    Args:
        out: the output folder of the batch job.
        results: of the peer: a file of JSON Lines, or a folder of Parquet files, with ``id`` and ``prediction``.

    Raises:
        ArmsDiffer: they labelled other items, or an item has other labels, scores or texts.
    """
    ours, peers = dict(_ours(out)), dict(_peers(results))
    if ours.keys() != peers.keys():
        raise ArmsDiffer(f"our arm labelled {len(ours)} items and the peer {len(peers)}, and they are not the same")
    ids = sorted(ours)
    found = check_alike([ours[one] for one in ids], [peers[one] for one in ids])
    check_equal([_texts(ours[one]) for one in ids], [_texts(peers[one]) for one in ids], what="labels and texts")
    return found


def _ours(out: Path) -> Iterator[tuple[str, Prediction]]:
    for result in parquet.read(out):
        if result.error is not None:
            raise ArmsDiffer(f"item {result.id} failed in our arm: {result.error.code}, {result.error.message}")
        yield result.id, Prediction(annotations=result.annotations, signals={})


def _peers(results: Path) -> Iterator[tuple[str, Prediction]]:
    if results.is_dir():
        for row in pq.read_table(results, columns=["id", "prediction"]).to_pylist():
            yield row["id"], _PREDICTION.validate_json(row["prediction"])
        return
    for line in results.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        yield row["id"], _PREDICTION.validate_python(row["prediction"])


def _texts(prediction: Prediction) -> list[tuple[str, str | None]]:
    return [(found.label, found.text) for found in prediction.annotations]
