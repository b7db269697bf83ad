"""Compares how many requests that do nothing our service and label-studio-ml's server answer."""

from __future__ import annotations

import json
import statistics
from dataclasses import replace

from benchmarks import ceiling, service
from benchmarks.load import Load, send
from benchmarks.ner_serving import config
from benchmarks.peers import label_studio
from benchmarks.peers.environment import versions_of
from benchmarks.random_tagger import DEMO
from benchmarks.ratio import Ratio, Rounds, interleaved

_CONNECTIONS = 32
_GATEWAYS = 2
_MODEL = "label_studio_noop.py:NoopModel"
_MORE_WORKERS = 4


def measure(*, quick: bool) -> Ratio:
    """Requests per second over 32 kept connections, closed loop: GET /livez of ours / GET /health of theirs.

    Both as they serve one copy of a model: ours with two gateways before it, the peer with its container file's one
    worker of 8 threads, in which the model is. What one gateway does, and the peer with 4 workers and as many copies,
    and with POST /predict of one task, is in the details.

    Raises:
        PeerMissing: label-studio-ml is not installed.
    """
    seconds, rounds = (1.0, 3) if quick else (3.0, 7)
    # The no-op model first: a missing peer is found before anything of ours starts.
    with label_studio.backend(_MODEL) as theirs:
        peer_load = Load(address=theirs, path="/health", connections=_CONNECTIONS, seconds=seconds)
        measured = _against(peer_load, gateways=_GATEWAYS, rounds=rounds)
        one_gateway = _against(peer_load, gateways=1, rounds=3)
        bodies = (json.dumps(label_studio.tasks_of(["a text"])),)
        predicts = replace(peer_load, path=label_studio.PATH, bodies=bodies)
        predict_per_s = statistics.median(send(predicts).per_s for _ in range(3))
        limit = ceiling.measure(connections=_CONNECTIONS, seconds=seconds)
    with label_studio.backend(_MODEL, workers=_MORE_WORKERS) as theirs:
        load = replace(peer_load, address=theirs)
        more_workers_per_s = statistics.median(send(load).per_s for _ in range(3))
    return Ratio(
        name="noop_http",
        ours=f"prelabel serve with {_GATEWAYS} gateways, GET /livez",
        peer="label-studio-ml, GET /health, gunicorn --preload --workers 1 --threads 8 as in its container file",
        unit="requests/s",
        rounds=measured,
        bar=5.0,
        aim=10.0,
        details={
            "connections": _CONNECTIONS,
            "seconds_per_round": seconds,
            "gateways": _GATEWAYS,
            "one_gateway_ratio": round(statistics.median(one_gateway.ratios), 3),
            "one_gateway_per_s": round(statistics.median(one_gateway.ours)),
            "one_gateway_rounds": len(one_gateway.ours),
            "one_gateway_stolen": max(one_gateway.stolen),
            "load_generator_ceiling_per_s": round(limit),
            "peer_predict_of_a_noop_model_per_s": round(predict_per_s),
            "peer_health_with_4_workers_per_s": round(more_workers_per_s),
            "peer_versions": versions_of(label_studio.PEER, label_studio.LIBRARIES),
            "peer_note": "1.0.9 is the newest on the package index; its development version is not there",
        },
    )


def _against(peer: Load, *, gateways: int, rounds: int) -> Rounds:
    with service.running(config(DEMO, window_tokens=128) | {"server": {"gateways": gateways}}) as address:
        ours = replace(peer, address=address, path="/livez")
        return interleaved(lambda: send(ours).per_s, lambda: send(peer).per_s, rounds=rounds)
