"""Sits down at Label Studio as an annotator, in a browser: what the real service has labelled is seen where it is.

With PRELABEL_SCREENSHOTS=FOLDER it keeps the pictures that the documentation shows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from serving.demo import DROP
from tests.label_studio import browser as browsers
from tests.label_studio import pictures
from tests.label_studio.product import Product
from tests.label_studio.projects import BOXES, MASKS, TEXTS, Studio, eventually
from tests.label_studio.server import LabelStudioServer
from tests.label_studio.test_opened import mask
from tests.pipelines.formats.readers import Reader

pytestmark = pytest.mark.skipif(browsers.PROGRAM is None, reason="there is no Chromium on this machine")

TEXT = (
    "\U0001f600 Denndine Thalvsen has worked for Waxmann Holdings since 2029-04-05. The temporary hospital near "
    "Nelvovia belongs to the University of Cokholm. Both Paulo Jalxwell and the nurse Q. Brenxman came to Dougton on "
    "Thursday, 24 March."
)
SPANS = [
    *("Denndine Thalvsen", "Waxmann Holdings", "2029-04-05", "Nelvovia", "University of Cokholm"),
    *("Paulo Jalxwell", "Q. Brenxman", "Dougton", "Thursday, 24 March"),
]
PICTURE = DROP / "detection" / "easy_04.jpg"
UNSURE = [(DROP / "ner" / f"hard_0{n}.txt").read_text() for n in range(6)]
_TINTED = 12  # of 255, in some channel; the picture as it is drawn differs by less
_MARGIN = 0.02
_COLUMNS = ("priority", "uncertainty", "reason", "text")
_PICTURE = ".konvajs-content canvas"  # of one that is seen as a whole
_LEFT_PX = 240  # of the Data Manager's own list, beside the editor


@pytest.fixture(scope="module")
def browser(shared_server: LabelStudioServer) -> Iterator[Reader]:
    with browsers.a_browser(shared_server) as browser:
        yield browser


@pytest.fixture
def picture(browser: Reader, tmp_path: Path) -> Callable[..., None]:
    """Keeps what is seen, in a file that is small enough for the documentation."""

    def keep(name: str, *, width: int = 1400, height: int = 900, left: int = 0) -> None:
        path = Path(os.environ.get("PRELABEL_SCREENSHOTS", tmp_path)) / f"{name}.png"
        browser.ask(action="picture", path=str(path), width=width, height=height, left=left)
        assert path.stat().st_size < 300_000

    return keep


def opened(browser: Reader, studio: Studio, shows: str) -> int:
    [task] = studio.tasks()
    browser.ask(action="task", url=studio.server.url, project=studio.id, task=task["id"], shows=shows)
    return task["id"]


def grid() -> np.ndarray:
    """(n, 2) fractions of the picture, without its right edge, over which tools lie."""
    return np.stack(np.meshgrid(np.linspace(0.02, 0.93, 40), np.linspace(0.02, 0.98, 40)), -1).reshape(-1, 2)


def tinted(browser: Reader, points: np.ndarray) -> np.ndarray:
    """(n,) bool: where the picture is seen in another colour than it has there or right beside."""
    shown = np.array(browser.ask(action="colour", points=points.tolist(), of=_PICTURE), int)
    plain = np.asarray(pictures.seen(PICTURE), int)
    height, width = plain.shape[:2]
    differences = list[int]()
    for (x, y), colour in zip(points, shown, strict=True):
        column, row = int(x * (width - 1)), int(y * (height - 1))
        beside = plain[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2].reshape(-1, 3)
        differences.append(int(np.abs(beside - colour).max(axis=1).min()))
    return np.array(differences) > _TINTED


def test_a_text_shows_its_spans_and_what_is_submitted_is_a_correction(
    studio: Callable[..., Studio], browser: Reader, product: Product, picture: Callable[..., None]
) -> None:
    project = studio(TEXTS, tasks=[{"text": TEXT}], title="Texts")
    connected = project.connect()
    eventually(project.predictions)

    opened(browser, project, ".htx-highlight")
    shown = browser.ask(action="highlighted", count=len(SPANS))
    picture("texts", height=520, left=_LEFT_PX)
    browser.ask(action="submit")

    assert shown == SPANS
    drop = f"label-studio:{connected['connection']}"
    [run] = [run["id"] for run in product.ask("runs", "list") if run["source"].get("drop") == drop]
    found = eventually(lambda: product.corrections(run), until=lambda found: found["reviews"] == 1)
    assert (found["shown"], found["untouched"], found["unchanged"]) == (1, 1, len(SPANS))


def test_boxes_are_seen_around_their_objects(
    studio: Callable[..., Studio], browser: Reader, product: Product, picture: Callable[..., None]
) -> None:
    project = studio(BOXES, title="Shapes")
    project.upload({PICTURE.name: PICTURE.read_bytes()})
    project.connect("--on-demand")

    opened(browser, project, "canvas")
    points = grid()
    seen = tinted(browser, points)
    picture("boxes", height=780, left=_LEFT_PX)

    size = np.tile(pictures.seen(PICTURE).size, 2)
    boxes = [np.array(one["geometry"]["xyxy"]) / size for one in product.pre_label("detection", PICTURE.read_bytes())]
    inside = np.any(
        [((points > box[:2] + _MARGIN) & (points < box[2:] - _MARGIN)).all(axis=1) for box in boxes], axis=0
    )
    around = np.any(
        [((points > box[:2] - _MARGIN) & (points < box[2:] + _MARGIN)).all(axis=1) for box in boxes], axis=0
    )
    assert len(boxes) == 4
    assert seen[inside].mean() > 0.95
    assert seen[~around].mean() < 0.01


def test_masks_are_seen_on_their_objects(
    studio: Callable[..., Studio], browser: Reader, sdk: Reader, picture: Callable[..., None]
) -> None:
    project = studio(MASKS, title="Masks")
    project.upload({PICTURE.name: PICTURE.read_bytes()})
    project.connect("--on-demand")

    task = opened(browser, project, "canvas")
    points = grid()
    seen = tinted(browser, points)
    picture("mask", height=780, left=_LEFT_PX)

    [drawn] = sdk.ask(config=MASKS, predictions=project.predictions(task))["masks"]
    whole = np.any([mask(told) for told in drawn], axis=0)
    height, width = whole.shape
    inside, outside = list[bool](), list[bool]()
    for x, y in points:
        column, row = int(x * (width - 1)), int(y * (height - 1))
        near = whole[max(0, row - 4) : row + 5, max(0, column - 4) : column + 5]
        inside.append(bool(near.all()))
        outside.append(not near.any())
    assert len(drawn) == 4
    assert seen[inside].mean() > 0.95
    assert seen[outside].mean() < 0.03  # the model draws some specks, too small to be counted as near


def test_the_data_manager_shows_a_mirrored_queue_by_its_priority(
    studio: Callable[..., Studio], browser: Reader, product: Product, picture: Callable[..., None]
) -> None:
    product.queue_texts(UNSURE)
    project = studio(TEXTS, title="Review queue")
    project.connect("--on-demand")
    product.ask("label-studio", "mirror", "texts", "-p", str(project.id))
    columns = project.get("/api/dm/columns/", project=project.id)["columns"]
    kept = {f"tasks:data.{name}" for name in _COLUMNS} | {"tasks:data", "tasks:id"}
    hidden = [name for one in columns if (name := named(one)) not in kept]
    view = {
        "title": "By priority",
        "ordering": ["-tasks:data.priority"],
        "hiddenColumns": {"explore": hidden, "labeling": hidden},
    }
    made = project.admin.post("/api/dm/views/", json={"project": project.id, "data": view}).raise_for_status().json()

    rows = browser.ask(action="tasks", url=project.server.url, project=project.id, view=made["id"])
    picture("data_manager", width=1080, height=620)

    ranked = sorted((float(task["data"]["priority"]) for task in project.tasks()), reverse=True)
    shown = [row for row in rows if "below 0." in row]
    assert len(shown) >= 5
    assert all(str(priority) in row for priority, row in zip(ranked, shown, strict=False))


def named(column: dict[str, str]) -> str:
    parent = f"{column['parent']}." if column.get("parent") else ""
    return f"{column['target']}:{parent}{column['id']}"
