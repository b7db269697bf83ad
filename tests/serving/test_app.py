"""Checks which applications a service is made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.app import GATEWAY, build
from serving.runs.replica import RUNS
from tests.serving.builders import settings_with

# Ray Serve's own models, when they are imported.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Using extra keyword arguments on `Field` is deprecated:DeprecationWarning"
)


@pytest.mark.parametrize("max_runs", [0, 2])
def test_connected_projects_are_served_even_where_no_runs_are_worked_on(tmp_path: Path, max_runs: int) -> None:
    targets = build(settings_with("postgresql://unused", max_runs=max_runs), folder=tmp_path)

    assert [target.name for target in targets][-2:] == [RUNS, GATEWAY]
