"""Writes reports and reads them back."""

from __future__ import annotations

import base64
from html.parser import HTMLParser
from pathlib import Path

from pipelines.formats import report
from pipelines.formats.report import Entry
from pipelines.formats.results import Result


class Page(HTMLParser):
    """A page's elements with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str, kind: str = "") -> list[dict[str, str | None]]:
        of_tag = [found for name, found in self.elements if name == tag]
        return [found for found in of_tag if not kind or kind in (found.get("class") or "").split(" ")]

    def data(self, tag: str, attribute: str) -> list[bytes]:
        """The contents of the data URIs in an attribute."""
        uris = [found[attribute] or "" for name, found in self.elements if name == tag and attribute in found]
        return [base64.b64decode(uri.partition("base64,")[2]) for uri in uris if uri.startswith("data:")]


def page(tmp_path: Path, *entries: Entry, title: str = "A run", subtitle: str = "") -> Page:
    report.write(entries, tmp_path / "report.html", title=title, subtitle=subtitle)
    return Page((tmp_path / "report.html").read_text(encoding="utf-8"))


def an_entry(result: Result, *, source: Path | None = None, text: str | None = None) -> Entry:
    return Entry(result=result, source=source, text=text)
