"""Makes projects that the demo models can label, connects them by the command line, and looks at what they get."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

from tests.label_studio.builders import a_project
from tests.label_studio.product import Product
from tests.label_studio.server import LabelStudioServer

T = TypeVar("T")

SHAPES = ("circle", "crescent", "cross", "square", "star", "triangle")
_COLOURS = ("#d4380d", "#08979c", "#531dab", "#389e0d", "#c41d7f", "#0958d9")
_LABELS = "".join(
    f'<Label value="{label}" background="{colour}"/>' for label, colour in zip(SHAPES, _COLOURS, strict=True)
)
TEXTS = (
    '<View><Labels name="label" toName="text"><Label value="person" background="#d4380d"/>'
    '<Label value="organisation" background="#08979c"/><Label value="place" background="#389e0d"/>'
    '<Label value="date" background="#531dab"/></Labels><Text name="text" value="$text"/></View>'
)
BOXES = (
    '<View><Image name="image" value="$image" zoom="true"/>'
    f'<RectangleLabels name="label" toName="image">{_LABELS}</RectangleLabels></View>'
)
MASKS = (
    f'<View><Image name="image" value="$image"/><BrushLabels name="label" toName="image">{_LABELS}</BrushLabels></View>'
)
CLICKS = (
    '<View><Image name="image" value="$image"/>'
    f'<BrushLabels name="label" toName="image">{_LABELS}</BrushLabels>'
    f'<KeyPointLabels name="point" toName="image" smart="true">{_LABELS}</KeyPointLabels>'
    f'<RectangleLabels name="box" toName="image" smart="true">{_LABELS}</RectangleLabels></View>'
)
SPEECH = (
    '<View><Labels name="label" toName="audio"><Label value="speech"/><Label value="word"/></Labels>'
    '<Audio name="audio" value="$audio"/><TextArea name="said" toName="audio" perRegion="true" editable="true"/></View>'
)


def eventually(look: Callable[[], T], *, until: Callable[[T], bool] = bool, limit_s: float = 180.0) -> T:
    """What ``look`` gives as soon as it is as wanted; an AssertionError with the last of it after the limit."""
    ends_at = time.monotonic() + limit_s
    while not until(found := look()):
        assert time.monotonic() < ends_at, f"not so within {limit_s:.0f} s; it is {found!r}"
        time.sleep(0.25)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Studio:
    """One project of the real Label Studio, as its administrator sees it."""

    admin: httpx.Client
    server: LabelStudioServer
    product: Product
    id: int

    def connect(self, *words: str, token: str | None = None, service: str | None = None) -> dict[str, Any]:
        """Connect it by the command line."""
        given = ["--token", token or self.server.token, "--api-key", self.product.api_key]
        given += ["--service", service or self.product.address]
        return self.product.ask("label-studio", "connect", self.server.url, "-p", str(self.id), *given, *words)

    def get(self, path: str, **params: Any) -> Any:
        return self.admin.get(path, params=params).raise_for_status().json()

    def upload(self, files: Mapping[str, bytes]) -> list[int]:
        """Upload files, each of which becomes a task; their ids, in the files' order."""
        parts = [(f"file{n}", (name, content)) for n, (name, content) in enumerate(files.items())]
        path = f"/api/projects/{self.id}/import?return_task_ids=true"
        return self.admin.post(path, files=parts).raise_for_status().json()["task_ids"]

    def tasks(self, **params: Any) -> list[dict[str, Any]]:
        """All its tasks; asks no backend for anything."""
        return self.get("/api/tasks/", project=self.id, page_size=1000, review="true", **params)["tasks"]

    def predictions(self, task: int | None = None) -> list[dict[str, Any]]:
        given = {"project": self.id} if task is None else {"task": task}
        return self.get("/api/predictions/", **given)

    def retrieve(self) -> None:
        """What "Retrieve Predictions" of the Data Manager does for all tasks."""
        path = f"/api/dm/actions?id=retrieve_tasks_predictions&project={self.id}"
        body = {"selectedItems": {"all": True, "excluded": []}, "ordering": [], "filters": None}
        self.admin.post(path, json=body).raise_for_status()

    def open(self, task: int) -> dict[str, Any]:
        """What the editor gets when somebody opens a task."""
        return self.get(f"/api/tasks/{task}/", project=self.id)

    def webhooks(self) -> list[dict[str, Any]]:
        return self.get("/api/webhooks/", project=self.id)

    def backend(self) -> dict[str, Any]:
        [backend] = self.get("/api/ml/", project=self.id)
        return backend

    def file_of(self, data: str) -> Path:
        """Where Label Studio keeps an upload."""
        return self.server.folder / "media" / data.removeprefix("/data/")


def a_studio(
    admin: httpx.Client,
    server: LabelStudioServer,
    product: Product,
    *,
    label_config: str,
    tasks: Sequence[Mapping[str, Any]] = (),
    title: str = "a project",
) -> Studio:
    """A project with tasks, not connected yet."""
    project = a_project(admin, label_config=label_config, title=title)
    made = Studio(admin=admin, server=server, product=product, id=project)
    if tasks:
        admin.post(f"/api/projects/{project}/import", json=list(tasks)).raise_for_status()
    return made
