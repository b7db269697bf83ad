"""Runs the real service with the demo models beside Label Studio, and the command line over the same configuration."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from serving.auth import new_key
from serving.demo import DROP
from tests.serving.conftest import PRELABEL, demo_config, served

_COMMAND_S = 240.0  # some seconds for its imports, and what else these cores do


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A service that runs and wants an API key; ``folder`` holds its configuration."""

    address: str
    folder: Path
    api_key: str = field(repr=False)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """What ``prelabel WORDS`` comes to."""
        return subprocess.run(
            [PRELABEL, *words], cwd=self.folder, capture_output=True, text=True, timeout=_COMMAND_S, check=False
        )

    def ask(self, *words: str) -> Any:
        """What ``prelabel WORDS --json`` says, which has to go well."""
        done = self.run(*words, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def client(self) -> httpx.Client:
        """A client of the service; close it."""
        headers = {"X-API-Key": self.api_key}
        return httpx.Client(base_url=self.address, headers=headers, timeout=120.0, trust_env=False)

    def pre_label(self, task: str, content: bytes) -> list[dict[str, Any]]:
        """The annotations of one item, asked for without Label Studio."""
        item = {"id": "it", "task": task, "data": base64.b64encode(content).decode()}
        with self.client() as client:
            [result] = client.post("/v1/prelabel", json={"items": [item]}).raise_for_status().json()["results"]
        return result["annotations"]

    def queue_texts(self, texts: Sequence[str]) -> None:
        """Label texts that the policy sends to a human."""
        items = [{"id": f"text {n}", "task": "ner", "text": text} for n, text in enumerate(texts)]
        with self.client() as client:
            results = client.post("/v1/prelabel", json={"items": items}).raise_for_status().json()["results"]
        assert {result["decision"]["route"] for result in results} == {"review"}

    def get(self, path: str, **params: Any) -> Any:
        """What the service's API says, which is quicker than a command."""
        with self.client() as client:
            return client.get(path, params=params).raise_for_status().json()

    def corrections(self, run: str) -> dict[str, Any]:
        """What reviewers changed in a run's pre-labels."""
        groups = self.get("/v1/corrections", run=run)["groups"]
        return groups[0] if groups else {"reviews": 0}

    def queue(self, name: str) -> tuple[int, int]:
        """How many tasks of a review queue wait, and how many are done."""
        for one in self.get("/v1/queues")["queues"]:
            if one["name"] == name:
                return one["pending"], one["done"]
        return 0, 0

    def cost(self, model: str) -> float:
        """What a model has computed until now, in its own measure."""
        return next(one["engine"]["cost"] for one in self.get("/v1/models")["models"] if one["name"] == model)


@contextmanager
def a_product(folder: Path, **sections: Any) -> Iterator[Product]:
    """``prelabel serve``, with a store of its own; ``sections`` stand against those of the preset demo."""
    key, line = new_key()
    config = demo_config() | {
        "store": {"folder": str(folder / "store")},
        "fetch": {"roots": [str(DROP)]},
        "label_studio": {"poll_s": 2.0},
        **sections,
    }
    config["server"] = {"api_keys": [line]} | config.get("server", {})
    with served(config, folder) as running:
        config["server"]["port"] = httpx.URL(running.address).port
        (folder / "prelabel.yaml").write_text(yaml.safe_dump(config))  # for the commands, which need its address
        yield Product(address=running.address, folder=folder, api_key=key)
