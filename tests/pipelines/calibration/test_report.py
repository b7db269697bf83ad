"""Tests that the report shows what a calibration does, safely, on one page that needs nothing else."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pipelines.formats.report as run_report
from pipelines.calibration import Calibration, fit_labels
from pipelines.calibration import report as calibration_report
from pipelines.calibration.quality import ece
from pipelines.calibration.report import JudgedItems, JudgedLabels, write_report
from pipelines.calibration.report.charts import BOTTOM, LEFT, RIGHT, TOP, curves, diagram
from pipelines.calibration.report.judged import Compared
from pipelines.calibration.report.page import MAX_LABELS
from tests.pipelines.calibration.test_calibration import a_calibration
from tests.pipelines.calibration.truths import A_MOMENT, logit_shift
from tests.pipelines.formats.report.pages import Page

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
MADE = datetime(2026, 5, 2, 8, 0, tzinfo=UTC)


def words(found: Page) -> str:
    """The page's text, its cells apart."""
    body = found.html.partition("<body>")[2]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def judged(n: int = 500, *, labels: tuple[str, ...] = ("cat", "dog"), seed: int = 3) -> JudgedLabels:
    drawn = logit_shift(n, np.random.default_rng(seed))
    return JudgedLabels(
        labels=[labels[i % len(labels)] for i in range(n)],
        scores=drawn.scores,
        is_right=drawn.is_right,
        ious=np.where(drawn.is_right, 0.8, 0.0),
    )


def some_items(n: int = 300) -> JudgedItems:
    drawn = logit_shift(n, np.random.default_rng(4))
    return JudgedItems(raw_scores=drawn.scores, confidences=drawn.chance, is_acceptable=drawn.is_right)


def page(
    tmp_path: Path,
    *,
    calibration: Calibration | None = None,
    labels: JudgedLabels | None = None,
    items: JudgedItems | None = None,
    is_held_out: bool = True,
) -> Page:
    file = tmp_path / "calibration.html"
    write_report(
        file,
        calibration=calibration or a_calibration(),
        labels=labels,
        items=items,
        is_held_out=is_held_out,
        made=MADE,
    )
    return Page(file.read_text(encoding="utf-8"))


def test_the_numbers_before_and_after_are_those_of_the_measures(tmp_path: Path) -> None:
    calibration, answers = a_calibration(), judged()
    assert calibration.labels is not None
    before = ece(answers.scores, answers.is_right)
    after = ece(calibration.labels.apply(answers.labels, answers.scores), answers.is_right)

    found = page(tmp_path, calibration=calibration, labels=answers, items=some_items())

    assert f"{before:.3f} → {after:.3f}" in words(found)
    assert after < before / 2
    assert "all labels platt, pooled 600 answers, 2026-05-01 500" in words(found)
    assert "cat platt, its own 400 answers" in words(found)
    for name in ("ECE", "D-ECE", "LaECE", "Brier", "AURC", "items"):
        assert name in words(found)
    assert calibration.id in words(found)


def test_it_says_that_no_guarantee_depends_on_it(tmp_path: Path) -> None:
    assert "What a certificate guarantees does not depend on this page" in words(page(tmp_path, labels=judged()))


def test_numbers_that_flatter_are_called_so(tmp_path: Path) -> None:
    assert "flatter" in words(page(tmp_path, labels=judged(), is_held_out=False))
    assert "flatter" not in words(page(tmp_path, labels=judged()))


def test_diagrams_of_items_of_all_labels_and_of_each(tmp_path: Path) -> None:
    found = page(tmp_path, labels=judged(), items=some_items())

    drawn = [svg["aria-label"] or "" for svg in found.all("svg")]
    assert [name.split(" of ")[0] for name in drawn] == ["Reliability diagram", "Risk–coverage curve"] * 2 + [
        "Reliability diagram"
    ] * 2
    assert "answers, mean probability" in words(found)


def test_without_boxes_there_are_no_detection_measures(tmp_path: Path) -> None:
    found = page(tmp_path, labels=replace(judged(), ious=None))

    assert "D-ECE" not in words(found) and "LaECE" not in words(found)


def test_with_nothing_to_measure_the_page_says_so(tmp_path: Path) -> None:
    empty = JudgedLabels(labels=[], scores=np.zeros(0), is_right=np.zeros(0, dtype=bool))

    for found in (page(tmp_path), page(tmp_path, labels=empty)):
        assert "nothing to measure" in words(found)


def test_of_very_many_labels_the_most_frequent_are_shown(tmp_path: Path) -> None:
    answers = judged(1_000, labels=tuple(f"label{i}" for i in range(MAX_LABELS + 7)))

    found = page(tmp_path, labels=answers)

    assert "7 more labels" in words(found)
    assert len(found.all("tr")) == 1 + 1 + MAX_LABELS


def test_nothing_is_asked_of_the_network_and_no_script_runs(tmp_path: Path) -> None:
    found = page(tmp_path, labels=judged(), items=some_items())

    assert not found.all("script")
    assert not re.search(r"https?:|//[a-z]|url\(", found.html)
    policies = [meta["content"] or "" for meta in found.all("meta") if "http-equiv" in meta]
    assert policies[0].startswith("default-src 'none'")


@pytest.mark.parametrize("name", [HOSTILE, "\ud800", "a\0b", "‮gpj"])
def test_a_hostile_label_stays_text(tmp_path: Path, name: str) -> None:
    found = page(tmp_path, labels=judged(labels=(name, "cat")))

    assert not found.all("script") and not found.all("img")
    assert found.all("bdi")


def test_the_page_looks_like_that_of_a_run() -> None:
    """Both hold their own copy of the palette."""
    ours, theirs = (
        (Path(package.__file__ or "").parent / "page.html.jinja").read_text(encoding="utf-8")
        for package in (calibration_report, run_report)
    )

    for here, there in zip(_palettes(ours), _palettes(theirs), strict=True):
        assert here
        assert here.items() <= there.items()


def _palettes(page: str) -> list[dict[str, str]]:
    """The colours by light and by dark."""
    return [dict(re.findall(r"--([a-z-]+):(#[0-9a-f]+)", line)) for line in page.splitlines() if ":root{" in line]


@given(
    scores=st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.booleans()), min_size=1, max_size=80),
    is_weighted=st.booleans(),
)
def test_everything_is_drawn_inside_the_plot(scores: list[tuple[float, float, bool]], is_weighted: bool) -> None:
    before, after, is_right = (np.array(values) for values in zip(*scores, strict=True))
    weights = np.linspace(1.0, 9.0, len(scores)) if is_weighted else None
    compared = Compared(before=before, after=after, is_right=is_right.astype(bool), weights=weights)

    shapes, lines = diagram(compared), curves(compared)

    for dots in shapes.dots.values():
        assert all(LEFT <= d.x <= RIGHT and TOP <= d.y_high <= d.y <= d.y_low <= BOTTOM for d in dots)
        assert sum(d.bin.n for d in dots) == len(scores)
    for line in lines.lines.values():
        points = [tuple(map(float, point.split(","))) for point in line.split()]
        assert all(LEFT <= x <= RIGHT and TOP - 0.01 <= y <= BOTTOM for x, y in points)


def test_labels_that_were_never_fitted_share_the_pooled_calibrator(tmp_path: Path) -> None:
    drawn = logit_shift(100, np.random.default_rng(9))
    labels = fit_labels(
        ["cat"] * 100, drawn.scores, is_right=drawn.is_right, fitted_at=A_MOMENT, rng=np.random.default_rng(1)
    )

    found = page(tmp_path, calibration=replace(a_calibration(), labels=labels), labels=judged(labels=("new", "cat")))

    assert "new platt, pooled 100 answers" in words(found)
