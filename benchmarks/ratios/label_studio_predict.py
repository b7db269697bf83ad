"""Compares one call with 32 texts through our service and through label-studio-ml's server, the same NER model."""

from __future__ import annotations

import json
import statistics
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

import httpx

from benchmarks import random_tagger, service, texts
from benchmarks.load import Load, send
from benchmarks.ner_serving import Spans, agree, config, our_body, our_spans
from benchmarks.peers import label_studio
from benchmarks.peers.environment import versions_of
from benchmarks.random_tagger import DEMO
from benchmarks.ratio import Ratio, Rounds, interleaved

_TASKS = 32
_MODEL = "label_studio_ner.py:NerModel"


def measure(*, quick: bool) -> Ratio:
    """Calls per second, one call after the other: POST /v1/prelabel of 32 texts / POST /predict of 32 tasks.

    Both load the demo NER model's weights. The details hold the same comparison with the peer in batches of 32 and,
    unless quick, over a BERT of 6 layers of 384 with random weights and texts of mixed lengths, where the model
    dominates.

    Raises:
        PeerMissing: label-studio-ml is not installed.
    """
    calls, rounds = (8, 3) if quick else (24, 7)
    chosen = texts.sentences(_TASKS)
    with _theirs(DEMO) as theirs, _theirs(DEMO, batch_size=_TASKS) as batching, _ours(DEMO, 128) as ours:
        agreement = agree(our_spans(ours, chosen), _their_spans(theirs, chosen))
        agree(our_spans(ours, chosen), _their_spans(batching, chosen))
        measured = _compare(ours, theirs, chosen, calls=calls, rounds=rounds)
        batched = _compare(ours, batching, chosen, calls=calls, rounds=3)
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
            **({} if quick else {"ratio_with_bert_6x384_mixed_lengths": _median(_large())}),
            "peer_versions": versions_of(label_studio.PEER, (*label_studio.LIBRARIES, "torch", "transformers")),
            "peer_note": "1.0.9 is the newest on the package index; its development version is not there",
        },
    )


def _large() -> Rounds:
    chosen = texts.mixed_lengths(_TASKS)
    with tempfile.TemporaryDirectory(prefix="tagger", dir="/tmp") as folder:
        network = random_tagger.write(Path(folder), layers=6, hidden=384)
        with _theirs(network) as theirs, _ours(network, 512) as ours:
            agree(our_spans(ours, chosen), _their_spans(theirs, chosen))
            return _compare(ours, theirs, chosen, calls=2, rounds=3)


def _theirs(network: Path, *, batch_size: int = 1) -> AbstractContextManager[str]:
    return label_studio.backend(_MODEL, settings={"NETWORK": str(network), "BATCH_SIZE": str(batch_size)})


def _ours(network: Path, window_tokens: int) -> AbstractContextManager[str]:
    return service.running(config(network, window_tokens=window_tokens))


def _median(rounds: Rounds) -> float:
    return round(statistics.median(rounds.ratios), 3)


def _compare(ours: str, theirs: str, chosen: list[str], *, calls: int, rounds: int) -> Rounds:
    """Calls per second of both addresses, the same texts in every call."""
    our_bodies = (our_body(chosen),) * calls
    our_load = Load(address=ours, path="/v1/prelabel", connections=1, bodies=our_bodies, refused='"status":"failed"')
    bodies = (json.dumps(label_studio.tasks_of(chosen)),) * calls
    peer_load = Load(address=theirs, path=label_studio.PATH, connections=1, bodies=bodies)
    return interleaved(lambda: send(our_load).per_s, lambda: send(peer_load).per_s, rounds=rounds)


def _their_spans(address: str, chosen: list[str]) -> list[Spans]:
    """What the backend finds in each of some texts."""
    answer = httpx.post(
        f"{address}{label_studio.PATH}", json=label_studio.tasks_of(chosen), timeout=120, trust_env=False
    )
    found = [prediction["result"] for prediction in answer.raise_for_status().json()["results"]]
    values = [[entry["value"] for entry in result] for result in found]
    return [frozenset((value["start"], value["end"], value["labels"][0]) for value in result) for result in values]
