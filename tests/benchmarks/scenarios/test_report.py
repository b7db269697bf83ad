"""Checks the report as a file, as notes and as pictures."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from benchmarks.scenarios.plots import draw
from benchmarks.scenarios.report import REPORT, Report, notes_on, read
from benchmarks.scenarios.table import rendered, size_shares
from models.errors import PrelabelError
from tests.benchmarks.scenarios.builders import a_machine, a_report


def a_server_report() -> Report:
    report = a_report([10.0, 11.0, 12.0, 11.0, 10.0])
    [point] = report.points
    points = tuple(replace(point, rate_per_s=rate) for rate in (5.0, 8.0, 9.5))
    setup = replace(report.setup, deadline_s=0.5, price_per_hour=1.0)
    return replace(report, scenario="server", points=points, setup=setup, peak_items_per_s=12.0)


def text_of(report: Report, *, width: int) -> str:
    console = Console(width=width, record=True, file=StringIO())
    console.print(rendered(report))
    return console.export_text()


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_bytes(a_server_report().json())

    assert read(file) == a_server_report()


def test_the_file_names_what_its_numbers_mean() -> None:
    written = json.loads(a_server_report().json())

    assert written["format"] == "prelabel-bench/1"
    assert REPORT.json_schema()["properties"].keys() == written.keys()
    assert {"cpu", "cores", "accelerator", "libraries", "load_average_1min"} <= written["machine"].keys()
    assert {"repeats", "warm_up_items", "seed", "compute_threads"} <= written["setup"].keys()
    assert len(written["points"][0]["slices"]) == 5


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_text('{"format": "prelabel-bench/2"}')

    with pytest.raises(PrelabelError, match="is no report of this version"):
        read(file)


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_the_terminal_and_says_everything(width: int) -> None:
    text = text_of(a_server_report(), width=width)

    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for said in ("m@1", "engine", "p50", "p95", "9.5/s", "in time", "cost of", "Example CPU", "n = 5 × 10", "forward"):
        assert said in text


def test_few_queries_are_said_to_have_no_p99() -> None:
    report = a_server_report()
    many = replace(report, points=tuple(replace(point, latency_p99_s=0.2) for point in report.points))

    assert "p99 at 9.5/s: 200.0 ms" in text_of(many, width=80)
    assert any("no p99" in note for note in notes_on(report))
    assert not any("no p99" in note for note in notes_on(many))


def test_a_late_sender_and_a_busy_machine_are_said() -> None:
    report = a_server_report()
    late = tuple(replace(part, lag_p95_s=0.05) for part in report.points[0].slices)
    busy = replace(
        report,
        points=(replace(report.points[0], slices=late), *report.points[1:]),
        machine=replace(a_machine(), load_average_1min=9.0),
    )

    assert any("at 5/s the load generator itself was late" in note for note in notes_on(busy))
    assert any("more work than processors" in note for note in notes_on(busy))
    assert not any("late" in note or "processors" in note for note in notes_on(report))


def test_a_generator_at_its_own_limit_is_said() -> None:
    report = replace(a_server_report(), target="service at http://host:8000")
    busy = replace(report, points=(replace(report.points[0], own_cpu_s=report.points[0].duration_s),))

    assert any("the load generator used 100% of a processor" in note for note in notes_on(busy))
    assert not any("load generator used" in note for note in notes_on(report))
    assert not any("load generator used" in note for note in notes_on(replace(busy, target="engine")))
    assert any("the service may run elsewhere" in note for note in notes_on(report))


def test_shares_of_many_sizes_are_summed_in_doubling_ranges() -> None:
    shares = size_shares([dict.fromkeys(range(1, 16), 1)])

    assert [name for name, _ in shares] == ["1", "2–3", "4–7", "8–15"]
    assert sum(share for _, [share] in shares) == pytest.approx(1.0)


@pytest.mark.parametrize("report", [a_report([1.0, 2.0]), a_server_report()], ids=["offline", "server"])
def test_plots_are_pictures_with_something_on_them(report: Report, tmp_path: Path) -> None:
    files = draw(report, tmp_path)

    assert len(files) == 3
    for file in files:
        with Image.open(file) as picture:
            assert min(picture.size) > 600
            assert len(picture.convert("RGB").getcolors(1 << 20) or ()) > 50
