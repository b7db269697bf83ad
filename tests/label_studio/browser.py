"""Runs a browser, as a person who is logged in to Label Studio."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.label_studio.server import ENVIRONMENT, PASSWORD, USER, LabelStudioServer
from tests.pipelines.formats.readers import Reader, reader_of

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def a_browser(server: LabelStudioServer) -> Iterator[Reader]:
    """A browser that answers the actions of editor_browser.py; needs a Chromium on the machine."""
    with reader_of(ENVIRONMENT / "bin" / "python", Path(__file__).with_name("editor_browser.py")) as browser:
        browser.ask(action="open", program=PROGRAM, url=server.url, user=USER, password=PASSWORD)
        yield browser
