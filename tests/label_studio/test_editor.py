"""Holds what we believe of places in texts and images against what the editor shows and saves."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.label_studio import browser as browsers
from tests.label_studio.builders import a_project, a_region, some_tasks
from tests.label_studio.server import LabelStudioServer
from tests.pipelines.formats.readers import Reader

pytestmark = pytest.mark.skipif(browsers.PROGRAM is None, reason="there is no Chromium on this machine")

SPANS = (
    '<View><Labels name="label" toName="text"><Label value="PER"/><Label value="LOC"/></Labels>'
    '<Text name="text" value="$text"/></View>'
)
REGIONS = (
    '<View><Image name="img" value="$image"/>'
    '<RectangleLabels name="label" toName="img"><Label value="car" background="blue"/></RectangleLabels>'
    '<BrushLabels name="brush" toName="img"><Label value="sky" background="blue"/></BrushLabels></View>'
)
# An emoji outside the basic plane, a combining accent, a family of joined emoji, both kinds of line end, a tab.
TEXT = "a \U0001f600 Alice e\u0301t \U0001f468\u200d\U0001f469 met Bob in Zürich\nand Carol in Paris\r\nthen \tDave"
WORDS = ["Alice", "Bob", "Carol", "Dave"]


@pytest.fixture(scope="module")
def browser(shared_server: LabelStudioServer) -> Iterator[Reader]:
    with browsers.a_browser(shared_server) as browser:
        yield browser


def utf16(offset: int) -> int:
    return len(TEXT[:offset].encode("utf-16-le")) // 2


def spans(offset: Any) -> list[dict[str, Any]]:
    regions = []
    for word in WORDS:
        start = TEXT.index(word)
        value = {"start": offset(start), "end": offset(start + len(word)), "text": word, "labels": ["PER"]}
        regions.append({"id": word, "from_name": "label", "to_name": "text", "type": "labels", "value": value})
    return regions


def predicted(admin: httpx.Client, project: int, task: int, result: list[dict[str, Any]]) -> None:
    """Give a task a prediction that its annotators begin with."""
    row = {"task": task, "result": result, "score": 0.5, "model_version": "v1"}
    assert admin.post(f"/api/projects/{project}/import/predictions", json=[row]).json() == {"created": 1}
    body = {"model_version": "v1", "show_collab_predictions": True}
    assert admin.patch(f"/api/projects/{project}/", json=body).is_success


def saved(admin: httpx.Client, task: int) -> dict[str, Any]:
    [annotation] = admin.get(f"/api/tasks/{task}/annotations/").json()
    return annotation


@pytest.mark.parametrize(("offset", "is_right"), [(int, True), (utf16, False)], ids=["code points", "UTF-16 units"])
def test_spans_are_counted_in_code_points(
    shared_server: LabelStudioServer, admin: httpx.Client, browser: Reader, offset: Any, is_right: bool
) -> None:
    project = a_project(admin, label_config=SPANS)
    [task] = some_tasks(admin, project, [{"text": TEXT}])
    predicted(admin, project, task, spans(offset))

    browser.ask(action="task", url=shared_server.url, project=project, task=task, shows=".htx-highlight")

    assert (browser.ask(action="highlighted", count=len(WORDS)) == WORDS) is is_right


def test_what_a_person_marks_is_saved_in_code_points(
    shared_server: LabelStudioServer, admin: httpx.Client, browser: Reader
) -> None:
    project = a_project(admin, label_config=SPANS)
    [task] = some_tasks(admin, project, [{"text": TEXT}])

    browser.ask(action="task", url=shared_server.url, project=project, task=task, shows="[class*=richtext]")
    browser.ask(action="mark", words=WORDS, key="1")
    browser.ask(action="submit")

    values = [region["value"] for region in saved(admin, task)["result"]]
    assert [TEXT[value["start"] : value["end"]] for value in values] == WORDS
    assert [value["text"] for value in values] == WORDS


def a_picture(orientation: int | None) -> bytes:
    """White, 400 by 200, with a red rectangle in the corner where its first pixel is stored."""
    image = Image.new("RGB", (400, 200), "white")
    ImageDraw.Draw(image).rectangle((0, 0, 99, 49), fill="red")
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    file = io.BytesIO()
    image.save(file, "JPEG", exif=exif, quality=95)
    return file.getvalue()


def an_upload(admin: httpx.Client, project: int, content: bytes) -> int:
    path = f"/api/projects/{project}/import?return_task_ids=true"
    return admin.post(path, files={"file": ("picture.jpg", content, "image/jpeg")}).json()["task_ids"][0]


# Where the red rectangle is seen, in percent of the picture as it is seen.
SEEN = {None: (0, 0), 3: (75, 75), 6: (75, 0), 8: (0, 75)}


def is_seen(colour: list[int]) -> str:
    red, green, blue = colour
    match (red > 128, green > 128, blue > 128):
        case (True, True, True):
            return "region" if min(red, green) < 235 and blue > 235 else "white"
        case (True, False, False):
            return "both" if blue > 30 else "red"
    return "region"


@pytest.mark.parametrize("orientation", list(SEEN))
def test_percents_are_of_the_picture_as_it_is_seen(
    shared_server: LabelStudioServer, admin: httpx.Client, browser: Reader, orientation: int | None
) -> None:
    project = a_project(admin, label_config=REGIONS)
    task = an_upload(admin, project, a_picture(orientation))
    x, y = SEEN[orientation]
    size = (200, 400) if orientation in (6, 8) else (400, 200)
    region = a_region(original_width=size[0], original_height=size[1])
    region["value"] |= {"x": x, "y": y, "width": 25, "height": 25}
    predicted(admin, project, task, [region])

    browser.ask(action="task", url=shared_server.url, project=project, task=task, shows="canvas")
    centres = [[(left + 12.5) / 100, (top + 12.5) / 100] for left in (0, 75) for top in (0, 75)]
    colours = browser.ask(action="colour", points=centres)

    seen = [is_seen(colour) for colour in colours]
    assert seen == ["both" if centre == [(x + 12.5) / 100, (y + 12.5) / 100] else "white" for centre in centres]


def test_what_a_person_draws_on_a_turned_picture_is_of_the_picture_as_it_is_seen(
    shared_server: LabelStudioServer, admin: httpx.Client, browser: Reader
) -> None:
    project = a_project(admin, label_config=REGIONS)
    task = an_upload(admin, project, a_picture(6))
    predicted(admin, project, task, [a_region(original_width=400, original_height=200)])

    browser.ask(action="task", url=shared_server.url, project=project, task=task, shows="canvas")
    browser.ask(action="draw", key="1", box=[0.25, 0.5, 0.75, 0.6])
    browser.ask(action="submit")

    annotation = saved(admin, task)
    [begun, drawn] = annotation["result"]
    assert [drawn["value"][key] for key in ("x", "y", "width", "height")] == pytest.approx([25, 50, 50, 10], abs=1)
    assert (drawn["original_width"], drawn["original_height"]) == (200, 400)
    assert (begun["original_width"], begun["original_height"]) == (200, 400)  # the editor puts them right
    assert (begun["id"], begun["origin"], drawn["origin"]) == ("r0", "prediction", "manual")
    assert annotation["parent_prediction"] is not None
    assert annotation["lead_time"] > 0


def test_a_brush_mask_lies_where_its_pixels_are(
    shared_server: LabelStudioServer, admin: httpx.Client, browser: Reader
) -> None:
    project = a_project(admin, label_config=REGIONS)
    task = an_upload(admin, project, a_picture(None))
    mask = np.zeros((200, 400), np.uint8)
    mask[120:180, 240:360] = 255
    rle = browser.ask(action="rle", mask=mask.tolist())
    value = {"format": "rle", "rle": rle, "brushlabels": ["sky"]}
    predicted(
        admin,
        project,
        task,
        [
            a_region(from_name="brush", type="brushlabels", value=value)
            | {"original_width": 400, "original_height": 200}
        ],
    )

    browser.ask(action="task", url=shared_server.url, project=project, task=task, shows="canvas")
    points = [[0.75, 0.75], [0.62, 0.62], [0.88, 0.88], [0.57, 0.75], [0.93, 0.75], [0.75, 0.55], [0.75, 0.95]]
    colours = browser.ask(action="colour", points=points)

    assert [is_seen(colour) for colour in colours] == ["region"] * 3 + ["white"] * 4
