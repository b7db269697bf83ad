"""Compares our NER service with plain FastAPI around the same network, without batching."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.ner_serving import APPS, Peer, compare
from benchmarks.ratio import Ratio

_DEFAULT = Peer(
    environment="fastapi",
    command=("-m", "uvicorn", "--app-dir", str(APPS), "--port", "{port}", "--no-access-log", "fastapi_ner:app"),
    path="/predict",
    ready="/health",
    libraries=("fastapi", "uvicorn", "torch", "transformers"),
    what="FastAPI on uvicorn, a plain def in its pool of 40 threads, one text a forward pass",
)
PEER = replace(
    _DEFAULT,
    what="FastAPI on uvicorn, a plain def in its thread pool, one forward pass of one text at a time",
    settings={"THREADS": "1"},
    with_defaults=_DEFAULT,
)


def measure(*, quick: bool) -> Ratio:
    """Items per second, ours / theirs, both computing in one thread.

    Its default of 40 threads, which may compute on every core at once, is in the details.

    Raises:
        PeerMissing: fastapi's own environment is not built.
    """
    return compare("ner_fastapi", PEER, bar=1.0, aim=1.5, quick=quick)
