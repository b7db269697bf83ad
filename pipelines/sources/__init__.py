"""Lists the items of a drop, whatever it is."""

from __future__ import annotations

from pipelines.sources.columns import Columns
from pipelines.sources.detect import check_drop, open_source, opening
from pipelines.sources.source import Source

__all__ = ["Columns", "Source", "check_drop", "open_source", "opening"]
