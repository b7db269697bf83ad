"""Checks that demo models are measured in processes of their own, on this machine's CPU."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path
from signal import SIGKILL

import pytest

from models import weights
from models.accelerator import accelerator_of
from models.card import ModelCard, read_card
from models.errors import ConfigError, ModelError
from models.media import MediaLimits
from models.types import Task
from pipelines.profiling import Assignment, measured_apart
from serving.demo import DROP

MIB = 2**20


def a_card(task: Task) -> ModelCard:
    return replace(read_card(DROP.parent / "weights" / task / "card.yaml"), device="cpu")


def an_assignment(card: ModelCard, *, folder: Path | None = None, budget_bytes: int | None = None) -> Assignment:
    return Assignment(
        card=card,
        lock_file=Path("nowhere.lock"),
        folder=folder or DROP / card.task,
        media=MediaLimits(),
        memory_share=1.0,
        budget_bytes=budget_bytes,
        seconds=1000.0,
        most_items=4,
    )


@pytest.mark.parametrize("task", ["ner", "detection"])
def test_a_demo_model_is_measured(task: Task) -> None:
    card = a_card(task)

    profile = measured_apart(an_assignment(card))

    assert profile.device == accelerator_of(card).name
    assert profile.weights_digest == weights.find(card).digest
    assert profile.config_digest == card.digest()
    assert profile.num_gpus is None
    assert [batch.items for batch in profile.batches] == [1, 2, 4]
    assert all(0 < profile.model_bytes < batch.peak_bytes < profile.device_bytes for batch in profile.batches)
    assert all((batch.items_per_s or 0) > 0 for batch in profile.batches)
    assert 0 < profile.max_cost <= 1.001 * profile.batches[-1].cost


def test_a_process_that_dies_is_told() -> None:
    with ThreadPoolExecutor(max_workers=1) as threads:
        asked = threads.submit(measured_apart, an_assignment(a_card("ner")))
        while not (children := active_children()) and not asked.done():
            wait([asked], timeout=0.01)
        for child in children:
            child.kill()

        with pytest.raises(ModelError, match="'sentence-tagger' has died"):
            asked.result()

    assert [child.exitcode for child in children] == [-SIGKILL]


def test_an_error_that_nobody_expected_is_told_as_the_models(tmp_path: Path) -> None:
    folder = tmp_path  # where a file should be

    with pytest.raises(ModelError, match="'sentence-tagger' could not be measured: IsADirectoryError"):
        measured_apart(replace(an_assignment(a_card("ner")), lock_file=folder))


def test_a_budget_that_the_model_alone_exceeds_is_told() -> None:
    with pytest.raises(ModelError, match="got a budget of 50 MiB"):
        measured_apart(an_assignment(a_card("ner"), budget_bytes=50 * MIB))


def test_a_folder_without_a_usable_item_is_told(tmp_path: Path) -> None:
    (tmp_path / "latin1.txt").write_bytes("août".encode("latin-1"))

    with pytest.raises(ConfigError, match="no text file in"):
        measured_apart(an_assignment(a_card("ner"), folder=tmp_path))
