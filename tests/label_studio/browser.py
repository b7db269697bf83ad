"""Runs a browser, as a person who is logged in to Label Studio."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.label_studio.server import ENVIRONMENT, PASSWORD, USER, LabelStudioServer
from tests.pipelines.formats.readers import Reader

_HERE = Path(__file__).parent
_SERVE = _HERE.parent / "pipelines" / "formats" / "readers" / "serve.py"
PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def a_browser(server: LabelStudioServer) -> Iterator[Reader]:
    """A browser that answers the actions of editor_browser.py; needs a Chromium on the machine."""
    command = [str(ENVIRONMENT / "bin" / "python"), "-u", str(_SERVE), str(_HERE / "editor_browser.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        browser = Reader(process)
        try:
            browser.ask(action="open", program=PROGRAM, url=server.url, user=USER, password=PASSWORD)
            yield browser
        finally:
            assert process.stdin
            process.stdin.close()
