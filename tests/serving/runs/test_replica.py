"""Checks what the process beside the gateways works on."""

from __future__ import annotations

import pytest

from serving.integrations.label_studio.worker import LabelStudioWorker
from serving.runs.replica import workers
from serving.runs.worker import RunWorker
from serving.service import open_service
from tests.serving.builders import ObedientModels
from tests.serving.runs.builders import settings_over


@pytest.mark.parametrize(("max_runs", "kinds"), [(0, [LabelStudioWorker]), (2, [LabelStudioWorker, RunWorker])])
async def test_without_a_place_for_runs_only_projects_are_worked_for(
    postgres_url: str, max_runs: int, kinds: list[type]
) -> None:
    settings = settings_over(None, postgres_url, max_runs=max_runs)
    async with open_service(settings, ObedientModels()) as service:
        found = workers(settings, models=service.models, store=service.store, flow=service.flow, media=service.media)

    assert [type(worker) for worker in found] == kinds
