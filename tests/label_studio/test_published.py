"""Puts runs and a review queue into projects by the command line, and takes what is answered there."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving.demo import DROP
from tests.label_studio.builders import annotate, some_tasks
from tests.label_studio.product import Product
from tests.label_studio.projects import TEXTS, Studio, eventually

NAMES = ("easy_00.txt", "easy_04.txt", "easy_08.txt", "hard_00.txt", "hard_02.txt", "hard_05.txt")


def annotated(product: Product, drop: Path, out: Path) -> str:
    """Label a drop by the command line; the run's id."""
    done = product.run("annotate", str(drop), "--task", "ner", "--out", str(out), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])["run"]


@pytest.fixture(scope="module")
def drop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drop")
    for name in NAMES:
        (folder / name).write_bytes((DROP / "ner" / name).read_bytes())
    return folder


def sorted_by(studio: Studio, column: str) -> list[dict[str, Any]]:
    """The data of the tasks as the Data Manager shows them, the largest of a column first."""
    query = json.dumps({"ordering": [f"-tasks:data.{column}"]})
    return [task["data"] for task in studio.tasks(query=query)]


def test_a_run_is_put_into_a_project_once_and_its_answers_come_back(
    studio: Callable[..., Studio], product: Product, drop: Path, tmp_path: Path
) -> None:
    run = annotated(product, drop, tmp_path / "out")
    project = studio(TEXTS, title="a run")
    project.connect("--on-demand")
    push = ("label-studio", "push", run, "-p", str(project.id))

    first, second = product.ask(*push), product.ask(*push)

    assert (first["made"], first["there"], first["left_out"]) == (len(NAMES), 0, {})
    assert (second["made"], second["there"], second["left_out"]) == (0, len(NAMES), {})
    tasks = {task["data"]["prelabel_item"]: task for task in project.tasks()}
    assert set(tasks) == {f"{run}/{name}" for name in NAMES}
    for name in NAMES:  # which the run knows by their addresses
        assert tasks[f"{run}/{name}"]["data"]["text"] == (drop / name).read_text()
    stored = project.predictions()
    predictions = {one["task"]: one for one in stored}
    assert len(stored) == len(predictions)
    assert sorted(predictions) == sorted(task["id"] for task in tasks.values())
    spans = [(one["task"], region["value"]) for one in stored for region in one["result"]]
    texts = {task["id"]: task["data"]["text"] for task in tasks.values()}
    assert all(texts[task][value["start"] : value["end"]] == value["text"] for task, value in spans)
    assert len(spans) > len(NAMES)
    assert all(0 <= task["data"]["uncertainty"] <= 1 for task in tasks.values())

    own = tasks[f"{run}/easy_04.txt"]["id"]
    annotate(
        project.admin, own, result=predictions[own]["result"][1:], parent_prediction=predictions[own]["id"], lead_time=2
    )

    found = eventually(lambda: product.corrections(run), until=lambda found: found["reviews"] == 1)
    assert (found["shown"], found["unchanged"], found["rejected"], found["seconds"]) == (1, 2, 1, 2.0)


def test_a_run_over_an_export_puts_its_predictions_onto_the_tasks_that_are_there(
    studio: Callable[..., Studio], product: Product, tmp_path: Path
) -> None:
    project = studio(TEXTS, title="exported")
    ids = some_tasks(project.admin, project.id, [{"text": (DROP / "ner" / name).read_text()} for name in NAMES])
    project.connect("--on-demand")
    export = tmp_path / "export.json"
    asked = {"exportType": "JSON", "download_all_tasks": "true"}
    export.write_text(json.dumps(project.get(f"/api/projects/{project.id}/export", **asked)))
    run = annotated(product, export, tmp_path / "out")
    push = ("label-studio", "push", run, "-p", str(project.id))

    first, second = product.ask(*push), product.ask(*push)

    assert (first["predicted"], first["made"], first["left_out"]) == (len(NAMES), 0, {})
    assert (second["predicted"], second["made"], second["left_out"]) == (0, 0, {})
    stored = eventually(project.predictions, until=lambda found: len(found) >= len(ids))
    assert Counter(one["task"] for one in stored) == Counter(ids)
    texts = {task["id"]: task["data"]["text"] for task in project.tasks()}
    assert all(
        texts[one["task"]][region["value"]["start"] : region["value"]["end"]] == region["value"]["text"]
        for one in stored
        for region in one["result"]
    )
    assert sum(len(one["result"]) for one in stored) > len(ids)


def test_a_mirrored_queue_is_sorted_by_priority_and_an_answer_there_answers_the_review(
    studio: Callable[..., Studio], product: Product
) -> None:
    product.queue_texts([(DROP / "ner" / name).read_text() for name in NAMES if name.startswith("hard")])
    waiting, done = product.queue("texts")
    project = studio(TEXTS, title="a queue")
    project.connect("--on-demand")
    mirror = ("label-studio", "mirror", "texts", "-p", str(project.id))

    first, second = product.ask(*mirror), product.ask(*mirror)

    assert waiting >= 3
    assert (first["made"], first["there"], second["made"], second["there"]) == (waiting, 0, 0, waiting)
    tasks = project.tasks()
    assert Counter(one["task"] for one in project.predictions()) == Counter(task["id"] for task in tasks)
    assert {task["data"]["queue"] for task in tasks} == {"texts"}
    assert all("below 0." in task["data"]["reason"] for task in tasks)
    for column in ("priority", "uncertainty"):
        shown = [float(data[column]) for data in sorted_by(project, column)]
        assert shown == sorted((float(task["data"][column]) for task in tasks), reverse=True)
        assert len(set(shown)) > 1

    for hook in project.webhooks():  # so that it must be looked for
        project.admin.delete(f"/api/webhooks/{hook['id']}/").raise_for_status()
    task = tasks[0]
    [prediction] = project.predictions(task["id"])
    annotate(project.admin, task["id"], result=prediction["result"], parent_prediction=prediction["id"])
    pulled = product.ask("label-studio", "pull", "-p", str(project.id))

    assert pulled == {"tasks": waiting, "answers": 1}
    assert product.queue("texts") == (waiting - 1, done + 1)
    assert product.corrections(task["data"]["prelabel_item"].rpartition("/")[0])["reviews"] >= 1
