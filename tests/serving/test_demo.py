"""Tests the part of the demo that needs no service."""

from __future__ import annotations

from pathlib import Path

from pipelines.formats import parquet, run_manifest
from pipelines.progress import Progress
from serving import demo_command
from serving.settings import load, with_changes


async def test_the_recordings_are_labelled_as_a_batch_job_into_a_report_a_table_and_subtitles(
    tmp_path: Path, postgres_url: str
) -> None:
    settings = with_changes(load("demo"), "store", url=postgres_url)
    shown = list[int]()

    def show(progress: Progress) -> None:
        shown.append(progress.finished)

    batch = await demo_command.label_folder(settings, tmp_path / "drop", on_progress=show)

    assert shown[-1] == 20
    assert [result.error.code for result in parquet.read(tmp_path / "drop") if result.error] == ["unreadable_audio"] * 2
    assert "clean_00.wav" in (tmp_path / "drop" / "report.html").read_text()
    assert (tmp_path / "drop" / "webvtt" / "clean_00.wav.vtt").read_text().startswith("WEBVTT")
    assert (batch.manifest.status, batch.order.out) == ("done", tmp_path / "drop")


async def test_a_demo_that_was_ended_is_not_in_the_next_ones_way(tmp_path: Path, postgres_url: str) -> None:
    settings = with_changes(load("demo"), "store", url=postgres_url)
    (tmp_path / run_manifest.FILE).write_text("{")

    batch = await demo_command.label_folder(settings, tmp_path, on_progress=lambda _: None)

    found = run_manifest.read(tmp_path)
    assert found is not None
    assert found.run == batch.manifest.run
