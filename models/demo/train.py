"""Trains the four demo models again: ``python -m models.demo.train [--only TASK]``."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

WEIGHTS = Path(__file__).parent / "weights"


class DemoTask(StrEnum):
    """What a demo model labels; also the name of its folder."""

    DETECTION = "detection"
    SEGMENTATION = "segmentation"
    NER = "ner"
    SPEECH = "speech"


def main(
    only: Annotated[DemoTask | None, typer.Option(help="Train this model only.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the data and of the network.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads that torch may use.")] = 4,
) -> None:
    """Train the demo models on data that they make themselves, and overwrite their weights. Speech needs espeak-ng."""
    import torch

    torch.set_num_threads(threads)
    for task in [only] if only else list(DemoTask):
        typer.echo(f"training {task} into {WEIGHTS / task}")
        train: Callable[..., None] = import_module(f"models.demo.train_{task}").train
        train(WEIGHTS / task, seed=seed)


if __name__ == "__main__":
    typer.run(main)
