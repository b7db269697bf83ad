"""Serves a token classifier with LitServe and its documented batching, one text a request."""

from __future__ import annotations

import os
import sys

import litserve
from tagger import Tagger


class TaggerAPI(litserve.LitAPI):
    """Batches of up to 32 texts, which LitServe gathers for at most 10 ms."""

    def setup(self, device: str) -> None:
        self.tagger = Tagger(os.environ["NETWORK"])

    def decode_request(self, request: dict[str, str]) -> str:
        return request["text"]

    def predict(self, x: list[str]) -> list[list[dict[str, object]]]:
        return self.tagger.entities(x)

    def encode_response(self, output: list[dict[str, object]]) -> dict[str, list[dict[str, object]]]:
        return {"entities": output}


if __name__ == "__main__":
    server = litserve.LitServer(
        TaggerAPI(max_batch_size=32, batch_timeout=0.01), accelerator="cpu", workers_per_device=1, fast_queue=True
    )
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
