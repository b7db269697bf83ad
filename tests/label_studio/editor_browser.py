"""Does in Label Studio's editor what a person does; runs in Label Studio's environment."""

import io
import re
from contextlib import suppress

import numpy as np
from label_studio_sdk.converter.brush import mask2rle
from PIL import Image
from playwright.sync_api import TimeoutError, sync_playwright

_SIZE = {"width": 1400, "height": 900}
_CENTRE = """
(word) => {
    const walker = document.createTreeWalker(document.querySelector('[class*=richtext]'), NodeFilter.SHOW_TEXT);
    for (let node; (node = walker.nextNode()); ) {
        const start = node.data.indexOf(word);
        if (start < 0) continue;
        const range = document.createRange();
        range.setStart(node, start);
        range.setEnd(node, start + word.length);
        const box = range.getBoundingClientRect();
        return [box.x + box.width / 2, box.y + box.height / 2];
    }
}
"""
_page = None


def read(action, **arguments):
    return globals()[f"_{action}"](**arguments)


def _open(program, url, user, password):
    global _page
    browser = sync_playwright().start().chromium.launch(executable_path=program, args=["--no-sandbox"])
    _page = browser.new_context(viewport=_SIZE).new_page()
    _page.set_default_timeout(30_000)
    _page.goto(f"{url}/user/login/")
    _page.fill("input[name=email]", user)
    _page.fill("input[name=password]", password)
    _page.click("button[type=submit]")
    _page.wait_for_url(re.compile(f"^{re.escape(url)}/(?!user/)"))


def _task(url, project, task, shows):
    """Open a task and wait until the editor shows what matches a selector."""
    _page.goto(f"{url}/projects/{project}/data?task={task}")
    _page.get_by_role("button", name="Submit").wait_for()
    _page.locator(shows).first.wait_for()


def _highlighted(count):
    """The texts of the spans that are shown, when there are so many."""
    spans = _page.locator(".htx-highlight")
    spans.nth(count - 1).wait_for()
    return spans.all_text_contents()


def _mark(words, key):
    """Give words a label by a double click on each."""
    spans = _page.locator(".htx-highlight")
    for count, word in enumerate(words, spans.count() + 1):
        for limit_ms in (10_000, 30_000):  # the text moves while the page is still being built, and the click misses it
            centre = _page.wait_for_function(_CENTRE, arg=word).json_value()
            _page.keyboard.press(key)
            _page.mouse.dblclick(*centre)
            with suppress(TimeoutError):
                spans.nth(count - 1).wait_for(timeout=limit_ms)
                break
            _page.keyboard.press("Escape")
        assert spans.count() == count
        _page.keyboard.press("Escape")


def _draw(key, box):
    """Draw a rectangle, given by its corners in fractions of the image that is shown."""
    at = _canvas()
    points = [(at["x"] + at["width"] * x, at["y"] + at["height"] * y) for x, y in (box[:2], box[2:])]
    _page.keyboard.press(key)
    _page.mouse.move(*points[0])
    _page.mouse.down()
    _page.mouse.move(*points[1], steps=8)
    _page.mouse.up()


def _submit():
    with _page.expect_response(lambda response: "/annotations" in response.url and response.request.method == "POST"):
        _page.get_by_role("button", name="Submit").click()


def _colour(points, of="canvas"):
    """What colour is seen at some points of the image, given in fractions: the picture and the regions on it."""
    shot = _page.screenshot(clip=_canvas(of))
    image = Image.open(io.BytesIO(shot)).convert("RGB")
    return [image.getpixel((int(x * (image.width - 1)), int(y * (image.height - 1)))) for x, y in points]


def _canvas(of="canvas"):
    """Where the picture is seen, when it is painted: twice the same size, with a while between."""
    canvas = _page.locator(of).first
    canvas.wait_for()
    _page.wait_for_load_state("networkidle")
    before, now = None, canvas.bounding_box()
    while before != now or now is None:
        _page.wait_for_timeout(500)  # it says nowhere that it has been painted
        before, now = now, canvas.bounding_box()
    return now


def _rle(mask):
    return mask2rle(np.array(mask, dtype=np.uint8))


def _tasks(url, project, view):
    """Show the Data Manager with one of its tabs; the texts of its rows, from the first on."""
    _page.goto(f"{url}/projects/{project}/data?tab={view}")
    rows = _page.locator("[class*=row-wrapper]")
    rows.first.wait_for()
    _page.wait_for_load_state("networkidle")
    return rows.all_text_contents()


def _picture(path, width, height, left=0):
    """Save what is seen in a window of some size, from ``left`` on."""
    _page.set_viewport_size({"width": width, "height": height})
    _page.wait_for_timeout(500)  # it says nowhere that it has been painted
    shot = _page.screenshot(clip={"x": left, "y": 0, "width": width - left, "height": height})
    Image.open(io.BytesIO(shot)).convert("RGB").save(path, optimize=True)
    _page.set_viewport_size(_SIZE)
