"""Compares our NER service with plain FastAPI around the same network, without batching."""

from __future__ import annotations

from benchmarks.ner_serving import APPS, Peer, compare
from benchmarks.ratio import Ratio

PEER = Peer(
    environment="fastapi",
    command=("-m", "uvicorn", "--app-dir", str(APPS), "--port", "{port}", "--no-access-log", "fastapi_ner:app"),
    path="/predict",
    ready="/health",
    libraries=("fastapi", "uvicorn", "torch", "transformers"),
    what="FastAPI on uvicorn, a plain def in its thread pool, each call one forward pass of one text in one thread",
)


def measure(*, quick: bool) -> Ratio:
    """Items per second, ours / theirs.

    Raises:
        PeerMissing: fastapi's own environment is not built.
    """
    return compare("ner_fastapi", PEER, bar=1.0, aim=1.5, quick=quick)
