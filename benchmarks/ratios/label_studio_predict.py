"""Compares one call with 32 texts through our service and through label-studio-ml's server, the same NER model."""

from __future__ import annotations

import json
import statistics
import tempfile
from pathlib import Path

import httpx

from benchmarks import random_tagger, service, texts
from benchmarks.load import Load, send
from benchmarks.ner_serving import Spans, agree, config, our_body, our_spans
from benchmarks.peers import label_studio
from benchmarks.peers.environment import python_of, versions_of
from benchmarks.random_tagger import DEMO
from benchmarks.ratio import Ratio, Rounds, interleaved

_TASKS = 32
_MODEL = "label_studio_ner.py:NerModel"


def measure(*, quick: bool) -> Ratio:
    """Calls per second, one call after the other: POST /v1/prelabel of 32 texts / POST /predict of 32 tasks.

    Both load the demo NER model's weights. The details hold the same comparison over a BERT of 6 layers of 384 with
    random weights and texts of mixed lengths, where the model dominates, and the peer with batches of 32.

    Raises:
        PeerMissing: label-studio-ml is not installed.
    """
    python_of(label_studio.PEER)
    calls, rounds = (8, 3) if quick else (24, 5)
    measured, agreement = _compare(DEMO, texts.sentences(_TASKS), window_tokens=128, calls=calls, rounds=rounds)
    batched, _ = _compare(
        DEMO, texts.sentences(_TASKS), window_tokens=128, calls=calls, rounds=3, settings={"BATCH_SIZE": str(_TASKS)}
    )
    with tempfile.TemporaryDirectory(prefix="tagger", dir="/tmp") as folder:
        network = random_tagger.write(Path(folder), layers=6, hidden=384)
        large, _ = _compare(network, texts.mixed_lengths(_TASKS), window_tokens=512, calls=2, rounds=3)
    return Ratio(
        name="label_studio_predict",
        ours="prelabel serve, POST /v1/prelabel of 32 texts (HTTP, validation, model, policy, PostgreSQL)",
        peer=(
            "label-studio-ml, POST /predict of 32 tasks, one transformers pipeline over all texts as in its "
            "Hugging Face NER example (batch size 1), gunicorn --workers 1 --threads 8"
        ),
        unit="calls/s",
        rounds=measured,
        bar=1.5,
        aim=3.0,
        details={
            "tasks_per_call": _TASKS,
            "calls_per_round": calls,
            "connections": 1,
            "compute_threads": 1,
            "texts_with_equal_entities": agreement,
            "ratio_with_the_peer_in_batches_of_32": _median(batched),
            "ratio_with_bert_6x384_mixed_lengths": _median(large),
            "peer_versions": versions_of(label_studio.PEER, (*label_studio.LIBRARIES, "torch", "transformers")),
            "peer_note": "1.0.9 is the newest on the package index; its development version is not there",
        },
    )


def _median(rounds: Rounds) -> float:
    return round(statistics.median(rounds.ratios), 3)


def _compare(
    network: Path,
    chosen: list[str],
    *,
    window_tokens: int,
    calls: int,
    rounds: int,
    settings: dict[str, str] | None = None,
) -> tuple[Rounds, float]:
    """Calls per second of both, and the share of texts with the same entities."""
    environment = {"NETWORK": str(network)} | (settings or {})
    with (
        label_studio.backend(_MODEL, settings=environment) as theirs,
        service.running(config(network, window_tokens=window_tokens)) as ours,
    ):
        agreement = agree(our_spans(ours, chosen), _their_spans(theirs, chosen))
        our_load = Load(
            address=ours,
            path="/v1/prelabel",
            connections=1,
            bodies=(our_body(chosen),) * calls,
            refused='"status":"failed"',
        )
        bodies = (json.dumps(label_studio.tasks_of(chosen)),) * calls
        peer_load = Load(address=theirs, path=label_studio.PATH, connections=1, bodies=bodies)
        measured = interleaved(lambda: send(our_load).per_s, lambda: send(peer_load).per_s, rounds=rounds)
    return measured, agreement


def _their_spans(address: str, chosen: list[str]) -> list[Spans]:
    """What the backend finds in each of some texts."""
    answer = httpx.post(
        f"{address}{label_studio.PATH}", json=label_studio.tasks_of(chosen), timeout=120, trust_env=False
    )
    found = [prediction["result"] for prediction in answer.raise_for_status().json()["results"]]
    values = [[entry["value"] for entry in result] for result in found]
    return [frozenset((value["start"], value["end"], value["labels"][0]) for value in result) for result in values]
