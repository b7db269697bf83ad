"""Compares our NER service with LitServe serving the same network with its batching."""

from __future__ import annotations

from benchmarks.ner_serving import Peer, compare, python_app
from benchmarks.ratio import Ratio

PEER = Peer(
    environment="litserve",
    command=python_app("litserve_ner.py", "{port}"),
    path="/predict",
    ready="/health",
    libraries=("litserve", "torch", "transformers"),
    what="LitServe, max_batch_size 32, batch_timeout 10 ms, fast_queue, one worker; one text a request",
)


def measure(*, quick: bool) -> Ratio:
    """Items per second, ours / theirs.

    Raises:
        PeerMissing: litserve is not installed.
    """
    return compare("ner_litserve", PEER, bar=1.0, aim=1.5, quick=quick)
