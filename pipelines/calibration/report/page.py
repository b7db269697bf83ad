"""Writes how well a calibration holds as one HTML page: numbers first, then diagrams before and after."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipelines.calibration.by_label import Described, LabelCalibration
from pipelines.calibration.calibration import Calibration
from pipelines.calibration.item_score import ItemScore
from pipelines.calibration.losses import brier
from pipelines.calibration.quality import DETECTION_BINS, d_ece, ece, la_ece
from pipelines.calibration.reliability import BINS
from pipelines.calibration.report import charts
from pipelines.calibration.report.charts import Curves, Diagram, Side, curves, diagram
from pipelines.calibration.report.judged import Compared, JudgedItems, JudgedLabels
from pipelines.calibration.risk_coverage import risk_coverage

MAX_LABELS = 60

# Name of a column → its numbers before and after; None where it does not apply.
Measured = dict[str, tuple[float, float] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One event of the page: what it was fitted on, its numbers, and its diagrams.

    ``name`` is a label where ``is_label``, and words of ours otherwise. ``n`` counts what was measured, ``fitted_on``
    what was fitted.
    """

    name: str
    is_label: bool
    method: str
    fitted_on: int
    fitted_at: datetime
    n: int
    right: int
    measured: Measured
    diagram: Diagram
    curves: Curves | None = None


def write_report(
    file: Path,
    *,
    calibration: Calibration,
    labels: JudgedLabels | None,
    items: JudgedItems | None,
    is_held_out: bool,
    made: datetime,
    title: str = "Calibration",
) -> None:
    """Write the page. It holds everything it shows and asks nothing of the network.

    At most MAX_LABELS labels get a row and a diagram, those with the most answers; the page says what it left out.

    Args:
        labels, items: what to measure on; None, or arrays without any entry, where there is nothing.
        is_held_out: whether none of it was used in the fit; if it was, the page says that its numbers flatter.
        made: when the page is written.
    """
    label_rows, hidden = _label_rows(calibration.labels, labels)
    item_rows = [_item_row(calibration.item, items)] if calibration.item and items and len(items.raw_scores) else []
    rows = item_rows + label_rows
    page = _environment().get_template("page.html.jinja")
    html = page.render(
        title=title,
        made=made,
        calibration=calibration,
        rows=rows,
        columns=[name for name in _COLUMNS if any(row.measured[name] for row in rows)],
        main=[row for row in rows if row.curves],
        single=[row for row in rows if not row.curves],
        hidden=hidden,
        is_held_out=is_held_out,
        is_weighted=any(judged is not None and judged.weights is not None for judged in (labels, items)),
        bins=BINS,
        detection_bins=DETECTION_BINS,
        chart=charts,
    )
    file.write_text(html.lstrip(), encoding="utf-8", errors="replace")  # a lone surrogate in a label is no UTF-8


_COLUMNS = ("ECE", "D-ECE", "LaECE", "Brier", "AURC")


def _label_rows(fitted: LabelCalibration | None, judged: JudgedLabels | None) -> tuple[list[Row], int]:
    """The row of all labels, those of the most frequent ones, and how many labels are left out."""
    if fitted is None or judged is None or not len(judged.scores):
        return [], 0
    whole = Compared(
        before=judged.scores,
        after=fitted.apply(judged.labels, judged.scores),
        is_right=np.asarray(judged.is_right, dtype=bool),
        weights=judged.weights,
        labels=judged.labels,
        ious=judged.ious,
    )
    rows = [_label_row("all labels", fitted.describe(), whole)]
    counted = Counter(judged.labels)
    shown = sorted(counted, key=lambda label: (-counted[label], label))[:MAX_LABELS]
    of_label = np.asarray(judged.labels, dtype=object)
    if len(counted) > 1:
        rows += [
            _label_row(label, fitted.describe(label), whole.take(np.flatnonzero(of_label == label))) for label in shown
        ]
    return rows, len(counted) - len(shown)


def _label_row(name: str, described: Described, compared: Compared) -> Row:
    return Row(
        name=name,
        is_label=described.label is not None,
        method=f"{described.method}, {'its own' if described.source == 'own' else 'pooled'}",
        fitted_on=described.n,
        fitted_at=described.fitted_at,
        n=compared.n,
        right=int(compared.is_right.sum()),
        measured=_measured(compared),
        diagram=diagram(compared),
        curves=curves(compared) if described.label is None else None,
    )


def _item_row(fitted: ItemScore, judged: JudgedItems) -> Row:
    compared = Compared(
        before=judged.raw_scores,
        after=judged.confidences,
        is_right=np.asarray(judged.is_acceptable, dtype=bool),
        weights=judged.weights,
    )
    return Row(
        name="items",
        is_label=False,
        method="platt over the raw score"
        if fitted.combiner is None
        else f"logistic, {len(fitted.combiner.terms)} terms",
        fitted_on=fitted.n,
        fitted_at=fitted.fitted_at,
        n=compared.n,
        right=int(compared.is_right.sum()),
        measured=_measured(compared),
        diagram=diagram(compared),
        curves=curves(compared),
    )


def _measured(compared: Compared) -> Measured:
    """Every column; D-ECE and LaECE need boxes or masks that were matched."""
    right, weights, labels, ious = compared.is_right, compared.weights, compared.labels, compared.ious
    has_boxes = labels is not None and ious is not None
    sides = (compared.before, compared.after)

    def both(values: list[float]) -> tuple[float, float]:
        return values[0], values[1]

    return {
        "ECE": both([ece(p, right, weights=weights) for p in sides]),
        "D-ECE": both([d_ece(p, right, weights=weights) for p in sides]) if has_boxes else None,
        "LaECE": both([la_ece(p, ious, labels=labels, weights=weights) for p in sides])
        if labels is not None and ious is not None
        else None,
        "Brier": both([brier(p, right, weights=weights) for p in sides]),
        "AURC": both([risk_coverage(p, right, weights=weights).area for p in sides]),
    }


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["fixed"] = _fixed
    environment.filters["short"] = _short
    environment.filters["grouped"] = lambda number: f"{number:,}"
    environment.globals["sides"] = _SIDES
    return environment


def _short(number: int) -> str:
    """A count in at most five characters."""
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number / size:.1f}{letter}" if number < 100 * size else f"{number // size}{letter}"
    return str(number)


_SIDES: tuple[Side, Side] = ("before", "after")


def _fixed(value: float) -> str:
    """Three digits behind the point; "–" for no number."""
    return "–" if math.isnan(value) else f"{value:.3f}"
