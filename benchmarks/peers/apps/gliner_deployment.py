"""Serves a token classifier through GLiNER's own Ray Serve deployment, one text a request.

Theirs (gliner.serve, as installed): the deployment class, its HTTP handling, its @serve.batch with the defaults of
GLiNERServeConfig (32 texts, 5 ms), its batch sizing, torch on the replica's event loop. Replaced: the network behind
it, by the one that every arm of the comparison runs, because GLiNER's own scores spans against label prompts.
"""

from __future__ import annotations

import os
import signal
import sys

import ray
from gliner.serve import server
from gliner.serve.config import GLiNERServeConfig
from ray import serve
from tagger import Tagger


class TaggerServer(server.GLiNERServer):
    """Their server with the network exchanged; what surrounds it is inherited."""

    def __init__(self, config: GLiNERServeConfig) -> None:
        self.config = config
        self.tagger = Tagger(config.model)
        self._supports_relations = False

    def _run_batch_internal(self, texts: list[str], labels: object, **_: object) -> list[list[dict[str, object]]]:
        return self.tagger.entities(texts)


def main(port: int) -> None:
    """Deploy and wait for a signal."""
    config = GLiNERServeConfig(
        model=os.environ["NETWORK"],
        device="cpu",
        dtype="float32",
        num_gpus_per_replica=0.0,
        tokenizer_threads=1,
        enable_compilation=False,
        http_port=port,
    )
    server.GLiNERServer = TaggerServer
    ray.init("local", include_dashboard=False, log_to_driver=False, object_store_memory=256 * 2**20)
    try:
        server.serve(config)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    finally:
        serve.shutdown()
        ray.shutdown()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    main(int(sys.argv[1]))
