"""Checks what a person sees of a run's progress, in a terminal and elsewhere."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from pipelines.progress import Progress
from serving.drops.progress_display import drawn, shown

HALFWAY = Progress(
    listed=960,
    is_listed=True,
    labels=400,
    nothing_found=60,
    failed=20,
    accepted=300,
    review=160,
    stored=480,
    elapsed_s=8,
)
HUGE = Progress(
    listed=10_000_000,
    labels=9_000_000,
    failed=100_000,
    accepted=8_000_000,
    review=1_000_000,
    retrying=1_000,
    stored=9_100_000,
    elapsed_s=36_000,
)


def lines(progress: Progress, *, width: int) -> list[str]:
    """What a terminal of so many columns shows."""
    console = Console(file=StringIO(), width=width, force_terminal=True, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(drawn("detection", progress, width=width))
    return [line.rstrip() for line in capture.get().splitlines()]


@pytest.mark.parametrize("width", [80, 120])
def test_a_bar_says_items_speed_time_left_and_what_became_of_them(width: int) -> None:
    bar, numbers = lines(HALFWAY, width=width)

    assert bar.startswith("detection ━━━")
    assert bar.endswith(" 480 of 960")
    assert numbers == "60.0 items/s · 0:08 to go · accepted 300 · review 160 · failed 20"


@pytest.mark.parametrize("progress", [Progress(), HALFWAY, HUGE, replace(HUGE, is_listed=True)])
@pytest.mark.parametrize("width", [40, 80])
def test_nothing_is_wider_than_the_terminal_or_left_out(progress: Progress, width: int) -> None:
    bar, *rest = lines(progress, width=width)

    assert max(map(len, [bar, *rest])) <= width
    assert f"{progress.finished:,} of {progress.listed:,}" in bar
    assert f"accepted {progress.accepted:,} · review {progress.review:,} · failed {progress.failed:,}" in " ".join(rest)


def test_as_long_as_the_listing_goes_on_no_time_is_promised() -> None:
    bar, *rest = lines(HUGE, width=80)

    assert bar.endswith(" 9,099,000 of 10,000,000 found so far")
    assert "to go" not in " ".join(rest)
    assert "failed 100,000 (1,000 to be tried again)" in " ".join(rest)


def test_at_the_end_it_says_how_long_it_took() -> None:
    done = replace(HALFWAY, listed=480)

    bar, numbers = lines(done, width=80)

    assert bar.endswith(" 480 of 480")
    assert numbers.startswith("60.0 items/s · took 0:08 · ")


def test_a_terminal_gets_a_bar_that_follows_the_progress() -> None:
    written = StringIO()

    with shown("ner", notes=Console(file=written, force_terminal=True, width=80), events=None) as show:
        show(HALFWAY)

    assert "accepted 300" in written.getvalue()


def test_a_file_gets_no_bar() -> None:
    written = StringIO()

    with shown("ner", notes=Console(file=written, width=80), events=None) as show:
        show(HALFWAY)

    assert written.getvalue() == ""  # the first line comes after ten seconds
