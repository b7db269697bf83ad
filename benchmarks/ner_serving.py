"""Compares our NER service with a peer that serves the same network, one text a request, mixed lengths."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from benchmarks import random_tagger, service, texts
from benchmarks.load import Answers, Load, send
from benchmarks.peers.environment import python_of, versions_of
from benchmarks.peers.process import serving
from benchmarks.ratio import Ratio, interleaved

APPS = Path(__file__).parent / "peers" / "apps"

# Twice the largest batch, so that a full batch waits while one is computed.
_CONNECTIONS = 64
_TEXTS_PER_CALL = 32
_CHECKED_TEXTS = 48
_LEAST_AGREEMENT = 0.95
_LABELS = ("person", "organisation", "place", "date")

Spans = frozenset[tuple[int, int, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A server of one text a request: how it is started, what it is sent, and what it says of itself.

    ``with_defaults`` is the same server as it comes, where the comparison had to limit it to our one compute thread.
    """

    environment: str
    command: tuple[str, ...]
    path: str
    ready: str
    libraries: tuple[str, ...]
    what: str
    takes_labels: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    with_defaults: Peer | None = None

    def body(self, text: str) -> str:
        return json.dumps({"text": text} | ({"labels": _LABELS} if self.takes_labels else {}))


def compare(name: str, peer: Peer, *, bar: float, aim: float, quick: bool) -> Ratio:
    """Items per second of both services, each under the same closed loop of 64 connections.

    Both run during the whole comparison, one compute thread each; only one is loaded at a time. The network is a BERT
    of 6 layers of 384 with random weights, so that the model dominates, from one folder that both load.

    Raises:
        PeerMissing: the peer's environment has not been built.
    """
    python_of(peer.environment)
    items, rounds = (96, 3) if quick else (192, 5)
    chosen = texts.mixed_lengths(items)
    with tempfile.TemporaryDirectory(prefix="tagger", dir="/tmp") as folder:
        network = random_tagger.write(Path(folder), layers=6, hidden=384)
        with service.running(config(network)) as ours, _running(peer, network) as theirs:
            agreement = agree(
                [our_spans(ours, [text])[0] for text in chosen[:_CHECKED_TEXTS]],
                [_peer_spans(f"{theirs}{peer.path}", peer.body(text)) for text in chosen[:_CHECKED_TEXTS]],
            )
            arms = _Arms(_our_load(ours, chosen), _peer_load(peer, theirs, chosen))
            measured = interleaved(arms.ours, arms.peer, rounds=rounds)
            in_calls = _our_load(ours, chosen, per_call=_TEXTS_PER_CALL, connections=2)
            details = {"ours_items_per_s_in_calls_of_32_texts_2_at_once": round(items / send(in_calls).seconds, 1)}
        if peer.with_defaults:
            details["peer_items_per_s_with_its_defaults"] = _rate(peer.with_defaults, network, chosen)
    return Ratio(
        name=name,
        ours="prelabel serve, POST /v1/prelabel, one text a request (HTTP, validation, model, policy, PostgreSQL)",
        peer=peer.what,
        unit="items/s",
        rounds=measured,
        bar=bar,
        aim=aim,
        details={
            "network": "BERT 6 x 384, random weights, fp32",
            "items_per_round": items,
            "words": "lognormal, median 20, sigma 0.9, 3 to 200",
            "connections": _CONNECTIONS,
            "compute_threads": 1,
            "texts_with_equal_entities": agreement,
            "p50_ms_ours_last_round": round(arms.last_ours.p50_ms, 1),
            "p50_ms_peer_last_round": round(arms.last_peer.p50_ms, 1),
            "peer_versions": versions_of(peer.environment, peer.libraries),
            **details,
        },
    )


def _running(peer: Peer, network: Path) -> AbstractContextManager[str]:
    command = [str(python_of(peer.environment)), *peer.command]
    return serving(command, ready=peer.ready, settings={"NETWORK": str(network), **peer.settings})


def _our_load(address: str, chosen: Sequence[str], *, per_call: int = 1, connections: int = _CONNECTIONS) -> Load:
    calls = [chosen[first : first + per_call] for first in range(0, len(chosen), per_call)]
    return Load(
        address=address,
        path="/v1/prelabel",
        connections=connections,
        bodies=tuple(our_body(call) for call in calls),
        refused='"status":"failed"',
    )


def _peer_load(peer: Peer, address: str, chosen: Sequence[str]) -> Load:
    bodies = tuple(peer.body(text) for text in chosen)
    return Load(address=address, path=peer.path, connections=_CONNECTIONS, bodies=bodies)


def _rate(peer: Peer, network: Path, chosen: Sequence[str]) -> float:
    """Items per second of a peer on its own: the median of three, after one to warm up."""
    with _running(peer, network) as address:
        load = _peer_load(peer, address, chosen)
        return round(statistics.median([send(load).per_s for _ in range(4)][1:]), 1)


class _Arms:
    """Sends each arm its load, and remembers the last answers of each."""

    last_ours: Answers
    last_peer: Answers

    def __init__(self, ours: Load, peer: Load) -> None:
        self._ours, self._peer = ours, peer

    def ours(self) -> float:
        self.last_ours = send(self._ours)
        return self.last_ours.per_s

    def peer(self) -> float:
        self.last_peer = send(self._peer)
        return self.last_peer.per_s


def config(network: Path, *, window_tokens: int = 512) -> dict[str, object]:
    """A service of one token classifier."""
    card = {
        "name": "tagger",
        "task": "ner",
        "adapter": "token_classification",
        "weights": str(network),
        "min_score": 0.5,
        "limits": {"max_items": 32, "max_cost": 8192},
        "options": {"window_tokens": window_tokens, "stride_tokens": 32},
    }
    policy = {"queue": "texts", "accept_score": 0.8, "accept_no_miss": 0.7, "accept_nothing_found": 0.9}
    return {"models": [card], "tasks": {"ner": ["tagger"]}, "policies": {"ner": policy}}


def our_body(chosen: Sequence[str]) -> str:
    """A /v1/prelabel call for some texts."""
    return json.dumps({"items": [{"id": str(n), "task": "ner", "text": text} for n, text in enumerate(chosen)]})


def our_spans(address: str, chosen: Sequence[str]) -> list[Spans]:
    """What our service finds in each of some texts."""
    answer = httpx.post(f"{address}/v1/prelabel", content=our_body(chosen), headers=_JSON, timeout=60, trust_env=False)
    return [_spans_of(result) for result in answer.raise_for_status().json()["results"]]


_JSON = {"Content-Type": "application/json"}


def _spans_of(result: dict[str, list[dict]]) -> Spans:
    found = result["annotations"]
    return frozenset((entry["geometry"]["start"], entry["geometry"]["end"], entry["label"]) for entry in found)


def _peer_spans(url: str, body: str) -> Spans:
    answer = httpx.post(url, content=body, headers=_JSON, timeout=60, trust_env=False)
    found = answer.raise_for_status().json()["entities"]
    return frozenset((entity["start"], entity["end"], entity["label"]) for entity in found)


def agree(ours: Sequence[Spans], theirs: Sequence[Spans]) -> float:
    """The share of texts in which both arms found the same entities.

    Raises:
        RuntimeError: it is below 0.95, or nothing was found at all: then the arms do not do the same work.
    """
    share = sum(own == other for own, other in zip(ours, theirs, strict=True)) / len(ours)
    if share < _LEAST_AGREEMENT or not any(ours):
        example = next((pair for pair in zip(ours, theirs, strict=True) if pair[0] != pair[1]), "nothing found")
        raise RuntimeError(f"only {share:.0%} of the texts have the same entities in both arms, for example: {example}")
    return round(share, 3)


def python_app(file: str, *arguments: str) -> tuple[str, ...]:
    """The arguments that make an interpreter run one of the peers' applications."""
    return (str(APPS / file), *arguments)
