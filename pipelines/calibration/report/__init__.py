"""How well a calibration holds, as one HTML page to look at."""

from __future__ import annotations

from pipelines.calibration.report.judged import JudgedItems, JudgedLabels
from pipelines.calibration.report.page import write_report

__all__ = ["JudgedItems", "JudgedLabels", "write_report"]
