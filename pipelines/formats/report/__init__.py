"""The run as one HTML page to look at."""

from __future__ import annotations

from pipelines.formats.report.card import Entry
from pipelines.formats.report.page import write

__all__ = ["Entry", "write"]
