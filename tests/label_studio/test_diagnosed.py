"""Plants what goes wrong into a connected project, and lets the command line find it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from serving.auth import new_key
from tests.label_studio import pictures
from tests.label_studio.backend import a_backend
from tests.label_studio.builders import some_tasks
from tests.label_studio.product import Product
from tests.label_studio.projects import BOXES, TEXTS, Studio
from tests.label_studio.server import LabelStudioServer
from tests.serving.integrations.label_studio.stub import Answer, a_stub

UNFIT = (
    '<View><Image name="image" value="$image"/><Choices name="c" toName="image"><Choice value="x"/></Choices></View>'
)


def findings(product: Product, project: int, *words: str) -> tuple[int, list[dict[str, str]]]:
    """What ``prelabel doctor label-studio`` says, and its exit status."""
    done = product.run("doctor", "label-studio", "-p", str(project), "--json", *words)
    assert done.stdout, done.stderr
    given = [words[words.index(name) + 1] for name in ("--token", "--api-key") if name in words]
    assert not [secret for secret in given if secret in done.stdout + done.stderr]
    return done.returncode, json.loads(done.stdout)


def bad(product: Product, project: int, *words: str) -> dict[str, str]:
    """What is in the way, by subject."""
    status, found = findings(product, project, *words)
    assert status == 1
    told = dict[str, str]()
    for one in found:
        if one["state"] == "bad":
            told[one["subject"]] = f"{told[one['subject']]}\n{one['text']}" if one["subject"] in told else one["text"]
    return told


@pytest.fixture
def boxes(studio: Callable[..., Studio]) -> Studio:
    project = studio(BOXES, title="to examine")
    project.upload({"picture.jpg": pictures.EASY.read_bytes()})
    project.connect("--on-demand")
    return project


def test_a_project_in_order_is_in_order(boxes: Studio, product: Product) -> None:
    before = boxes.get("/api/projects/", page_size=1000)["count"]

    status, found = findings(product, boxes.id, "--api-key", product.api_key)

    assert {one["state"] for one in found} == {"ok"}, found
    assert (status, len(found)) == (0, 11)
    assert boxes.get("/api/projects/", page_size=1000)["count"] == before


def test_a_key_that_is_missing_or_wrong(boxes: Studio, product: Product) -> None:
    missing = bad(product, boxes.id)
    wrong = bad(product, boxes.id, "--api-key", new_key()[0])

    for subject in ("backend here", "backend there"):
        assert "(401)" in missing[subject] and "wants an API key, and none was given" in missing[subject]
        assert "does not take the API key" in wrong[subject]


def test_webhook_shown_predictions_and_media_none_of_which_hides_another(boxes: Studio, product: Product) -> None:
    admin = boxes.admin
    for one in boxes.webhooks():
        admin.delete(f"/api/webhooks/{one['id']}/").raise_for_status()
    admin.patch(f"/api/projects/{boxes.id}/", json={"show_collab_predictions": False}).raise_for_status()
    boxes.file_of(boxes.tasks()[0]["data"]["image"]).unlink()
    some_tasks(admin, boxes.id, [{"image": "http://127.0.0.1:9/a.jpg"}, {"image": "/data/local-files/?d=a.jpg"}])

    told = bad(product, boxes.id, "--api-key", product.api_key)

    assert set(told) == {"webhook", "model version", "media"}
    assert "none calls us" in told["webhook"] and "add one in Settings → Webhooks" in told["webhook"]
    assert "turn on 'Use predictions to prelabel tasks'" in told["model version"]
    assert "fetch.allowed_hosts" in told["media"]
    assert "see whether the file is still in the media folder" in told["media"]  # its upload is gone


def test_local_files_that_label_studio_does_not_serve(boxes: Studio, product: Product) -> None:
    boxes.admin.delete(f"/api/projects/{boxes.id}/tasks/").raise_for_status()
    some_tasks(boxes.admin, boxes.id, [{"image": "/data/local-files/?d=a.jpg"}])

    told = bad(product, boxes.id, "--api-key", product.api_key)

    assert set(told) == {"media"}
    assert "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true" in told["media"]


@pytest.mark.parametrize("status", [401, 403])
def test_media_elsewhere_that_want_credentials(boxes: Studio, product: Product, tmp_path: Path, status: int) -> None:
    boxes.admin.delete(f"/api/projects/{boxes.id}/tasks/").raise_for_status()
    with a_stub() as elsewhere:
        elsewhere.answers.append(Answer(status=status))
        some_tasks(boxes.admin, boxes.id, [{"image": f"{elsewhere.url}/a.jpg"}])
        config = yaml.safe_load((product.folder / "prelabel.yaml").read_text())
        config["fetch"]["allowed_hosts"] = [elsewhere.url.removeprefix("http://")]
        (tmp_path / "open.yaml").write_text(yaml.safe_dump(config))

        told = bad(product, boxes.id, "--api-key", product.api_key, "-c", str(tmp_path / "open.yaml"))

    assert set(told) == {"media"}
    assert str(status) in told["media"] and "credentials" in told["media"]
    assert {call.authorization for call in elsewhere.calls} == {None}  # Label Studio's token is not for others


def test_an_interface_that_does_not_fit_and_a_backend_that_stands_before_ours(boxes: Studio, product: Product) -> None:
    admin, own = boxes.admin, boxes.backend()
    with a_backend() as other:
        admin.post("/api/ml/", json={"project": boxes.id, "url": other.url, "title": "other"}).raise_for_status()
        admin.delete(f"/api/ml/{own['id']}").raise_for_status()
        boxes.connect("--on-demand")
        admin.patch(f"/api/projects/{boxes.id}/", json={"label_config": UNFIT}).raise_for_status()

        told = bad(product, boxes.id, "--api-key", product.api_key)

    assert "RectangleLabels" in told["labelling interface"]
    assert "asks only the first, 'other'" in told["backend"] and "delete that one" in told["backend"]


def test_what_is_wrong_before_a_project_is_seen(
    studio: Callable[..., Studio], shared_server: LabelStudioServer, product: Product
) -> None:
    number = studio(TEXTS).id
    with a_backend() as gone:
        pass
    there, token = ("--url", shared_server.url), ("--token", shared_server.token)

    assert "is it up" in bad(product, number, "--url", gone.url, *token)["Label Studio"]
    assert "copy it again" in bad(product, number, *there, "--token", "f" * 40)["token"]
    assert "the number in the project's address" in bad(product, 10**8, *there, *token)["project"]
    told = bad(product, number, *there, *token, "--service", gone.url, "--api-key", product.api_key)
    assert "is it up, and its address right?" in told["backend here"]
    assert "does not reach" in told["backend there"]
    assert "prelabel label-studio connect" in told["backend"]
