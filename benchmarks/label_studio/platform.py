"""Runs a real Label Studio, in its own environment, and does there what a user does."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from benchmarks.label_studio.stored import Stored, stored
from benchmarks.label_studio.tasks import label_config

ENVIRONMENT = Path(__file__).parents[2] / ".venv-label-studio"
_CALL_S = 1_200.0  # "Retrieve Predictions" answers when all are stored, 25 ms each on SQLite


class LabelStudioMissing(Exception):
    """There is no Label Studio to measure with; the message says how to get one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project of texts; ``uid`` is how Label Studio names it to a backend."""

    id: int
    uid: str
    texts: dict[int, str]


class Platform:
    """A Label Studio that runs, as its only user."""

    def __init__(self, url: str, *, token: str, folder: Path, client: httpx.Client) -> None:
        self.url, self.token = url, token
        self._database, self._client = folder / "label_studio.sqlite3", client

    def release(self) -> str:
        """Its version."""
        return self._get("/api/version")["release"]

    def project(self, title: str, texts: Sequence[str]) -> Project:
        """A new project with a task for each text."""
        body = {"title": title, "label_config": label_config(), "show_collab_predictions": True}
        made = self._post("/api/projects", body)
        project_id, created_at = int(made["id"]), datetime.fromisoformat(made["created_at"])
        tasks = [{"text": text} for text in texts]
        ids = self._post(f"/api/projects/{project_id}/import?return_task_ids=true", tasks)["task_ids"]
        if len(ids) != len(texts):
            raise RuntimeError(f"Label Studio made {len(ids)} tasks of {len(texts)} texts")
        uid = f"{project_id}.{int(created_at.timestamp())}"
        return Project(id=project_id, uid=uid, texts=dict(zip(ids, texts, strict=True)))

    def backend_url(self, project: Project) -> str:
        """Where the project's only backend is, with the key in it."""
        [backend] = self._get("/api/ml/", project=project.id)
        return str(backend["url"]).rstrip("/")

    def is_connected(self, project: Project) -> bool:
        """Whether Label Studio, which asks for health and setup now, finds the backend connected."""
        [backend] = self._get("/api/ml/", project=project.id)
        return backend["state"] == "CO"

    def retrieve_predictions(self, project: Project) -> int:
        """What the button "Retrieve Predictions" does for all tasks; the HTTP status, when they are stored."""
        path = f"/api/dm/actions?id=retrieve_tasks_predictions&project={project.id}"
        body = {"selectedItems": {"all": True, "excluded": []}, "project": project.id}
        return self._client.post(path, json=body).status_code

    def stored(self, project: Project) -> Stored:
        """Which predictions its tasks have, by Label Studio's database."""
        return stored(self._database, project.id)

    def prediction_counts(self, project: Project) -> dict[str, int]:
        """How many predictions of each version there are, by Label Studio's API; versions without any are left out."""
        counts = self._get(f"/api/projects/{project.id}/model-versions/")
        return {str(version): int(count) for version, count in counts.items() if count}

    def _get(self, path: str, **params: Any) -> Any:
        return self._client.get(path, params=params).raise_for_status().json()

    def _post(self, path: str, body: Any) -> Any:
        return self._client.post(path, json=body).raise_for_status().json()


@contextmanager
def running() -> Iterator[Platform]:
    """A Label Studio on an empty SQLite database, on loopback.

    Raises:
        LabelStudioMissing: its environment has not been built.
    """
    check()
    from tests.label_studio.server import label_studio  # both need a checkout, for the environment that make builds

    with (
        tempfile.TemporaryDirectory(prefix="pls", dir="/tmp") as name,
        label_studio(Path(name)) as server,
        server.client(timeout_s=_CALL_S) as client,
    ):
        yield Platform(server.url, token=server.token, folder=server.folder, client=client)


def check(environment: Path = ENVIRONMENT) -> None:
    """Find Label Studio's environment.

    Raises:
        LabelStudioMissing: it has not been built.
    """
    if not (environment / ".complete").exists():
        make = "run 'make .venv-label-studio/.complete'"
        raise LabelStudioMissing(f"Label Studio is not installed in {environment}; {make} (a gigabyte, some minutes)")
