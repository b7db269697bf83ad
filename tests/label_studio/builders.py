"""Makes projects, tasks and predictions in a real Label Studio, by plain calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx

from tests.label_studio.server import PASSWORD, USER

BOXES = (
    '<View><Image name="img" value="$image"/>'
    '<RectangleLabels name="label" toName="img"><Label value="car"/><Label value="dog"/></RectangleLabels></View>'
)


def a_project(admin: httpx.Client, *, label_config: str = BOXES, **fields: Any) -> int:
    body = {"title": "a project", "label_config": label_config, **fields}
    return _ok(admin.post("/api/projects/", json=body))["id"]


def some_tasks(admin: httpx.Client, project: int, tasks: int | Sequence[dict[str, Any]]) -> list[int]:
    if isinstance(tasks, int):
        tasks = [{"image": f"https://images.example/{number}.jpg"} for number in range(tasks)]
    path = f"/api/projects/{project}/import?return_task_ids=true"
    return _ok(admin.post(path, json=list(tasks)))["task_ids"]


def a_region(number: int = 0, **fields: Any) -> dict[str, Any]:
    value = {"x": 10, "y": 10, "width": 20, "height": 20, "rotation": 0, "rectanglelabels": ["car"]}
    size = {"original_width": 640, "original_height": 480, "image_rotation": 0}
    names = {"id": f"r{number}", "from_name": "label", "to_name": "img", "type": "rectanglelabels"}
    return {**names, **size, "value": value, **fields}


def a_row(task: int, *, model_version: str = "v1", regions: int = 1, **fields: Any) -> dict[str, Any]:
    result = [a_region(number) for number in range(regions)]
    return {"task": task, "result": result, "score": 0.5, "model_version": model_version, **fields}


def annotate(admin: httpx.Client, task: int, **fields: Any) -> dict[str, Any]:
    body = {"result": [a_region()], "lead_time": 3.5, **fields}
    return _ok(admin.post(f"/api/tasks/{task}/annotations/", json=body))


def a_personal_token(url: str) -> str:
    """A new personal access token, made as a person makes it: by logging in."""
    with httpx.Client(base_url=url, trust_env=False, timeout=60.0) as browser:
        browser.get("/user/login/")
        form = {"email": USER, "password": PASSWORD, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        assert browser.post("/user/login/", data=form).status_code == 302
        made = browser.post("/api/token/", headers={"X-CSRFToken": browser.cookies["csrftoken"]})
        return _ok(made)["token"]


def _ok(response: httpx.Response) -> Any:
    assert response.is_success, f"{response.status_code}: {response.text[:1000]}"
    return response.json()
