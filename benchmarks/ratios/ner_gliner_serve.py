"""Compares our NER service with GLiNER's Ray Serve deployment around the same network."""

from __future__ import annotations

from benchmarks.ner_serving import Peer, compare, python_app
from benchmarks.ratio import Ratio

PEER = Peer(
    environment="gliner",
    command=python_app("gliner_deployment.py", "{port}"),
    path="/gliner",
    ready="/-/healthz",
    libraries=("gliner", "ray", "torch", "transformers"),
    what=(
        "gliner.serve's deployment (its @serve.batch of 32 texts and 5 ms, its HTTP handling), "
        "its network replaced by ours; one text a request, as its client sends them; not compiled"
    ),
    takes_labels=True,
)


def measure(*, quick: bool) -> Ratio:
    """Items per second, ours / theirs.

    Raises:
        PeerMissing: gliner is not installed.
    """
    return compare("ner_gliner_serve", PEER, bar=1.2, aim=2.0, quick=quick)
