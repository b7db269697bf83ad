"""Measures one model in a process of its own, so that peaks do not mix and a crash ends nothing else."""

from __future__ import annotations

import itertools
import math
import os
import statistics
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from models import profile, weights
from models.accelerator import accelerator_of
from models.adapter import Adapter, Sample, decodes_jpegs, load
from models.card import ModelCard
from models.errors import ConfigError, ItemError, ModelError, PrelabelError
from models.media import MediaLimits, decode, image_size_hw
from models.memory import gauge_of
from models.profile_file import Profile
from models.types import MEDIA_OF_TASK, BoxPrompt, Content, Prompts
from pipelines.fetch.files import path_of
from pipelines.sources.folder import items_of

_MOST_FILES = 64
_LARGEST = 0.25  # of the items, which batches are made up of
_BOXES = 8  # as many as a detector finds in a busy picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What to measure a model with.

    Attributes:
        folder: holds the items.
        memory_share: of the device's memory, which is the budget where ``budget_bytes`` is None.
        seconds: no larger batch begins after so many, loading left out.
        most_items: of a batch.
    """

    card: ModelCard
    lock_file: Path
    folder: Path
    media: MediaLimits
    memory_share: float
    budget_bytes: int | None
    seconds: float
    most_items: int = 512


def measured_apart(assignment: Assignment) -> Profile:
    """The model's profile, measured in a process that ends with it.

    Raises:
        ModelError: the model cannot be loaded, does not fit the budget, or its process has died (profile_failed).
        ConfigError: none of the items can be used.
    """
    name = assignment.card.name
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(measured_here, assignment).result()
        except BrokenProcessPool as err:
            message = f"the process that measured model '{name}' has died; the system may have run out of memory"
            raise ModelError("profile_failed", f"{message}, so try a smaller budget") from err
        except PrelabelError:
            raise
        except Exception as err:  # whatever a library raises there ends this model's profile alone
            message = f"model '{name}' could not be measured: {type(err).__name__}: {err}"
            raise ModelError("profile_failed", message) from err


def measured_here(assignment: Assignment) -> Profile:
    """The model's profile; whatever else this process has in its memory counts."""
    card = assignment.card
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, math.floor(card.num_cpus))))  # as Ray does for a replica
    accelerator = accelerator_of(card)
    gauge = gauge_of(card, accelerator)
    context_bytes = gauge.context_bytes()
    found = weights.find(card, lock=weights.read_locks(assignment.lock_file).get(weights.key(card)))
    before_bytes = gauge.in_use()
    adapter = load(_unlimited(card, assignment.most_items), found.path)
    model_bytes = max(0, gauge.in_use() - before_bytes)
    samples = _samples(adapter, assignment)
    budget_bytes = assignment.budget_bytes or int(assignment.memory_share * accelerator.memory_bytes)
    bounds = profile.Bounds(
        budget_bytes=budget_bytes - context_bytes, seconds=assignment.seconds, most_items=assignment.most_items
    )
    batches = profile.measure(adapter, _largest(samples), gauge=gauge, bounds=bounds)
    advice = profile.recommended(
        batches,
        budget_bytes=budget_bytes,
        median_cost=statistics.median(sample.cost for sample in samples),
        overhead_bytes=context_bytes,
    )
    is_gpu = accelerator.kind == "cuda"
    return Profile(
        device=accelerator.name,
        device_bytes=accelerator.memory_bytes,
        weights_digest=found.digest,
        config_digest=card.digest(),
        items=f"the largest quarter of {len(samples)} items of {assignment.folder}",
        model_bytes=model_bytes,
        batches=tuple(batches),
        max_items=advice.max_items,
        max_cost=advice.max_cost,
        num_gpus=profile.gpu_share(advice.needed_bytes, device_bytes=accelerator.memory_bytes) if is_gpu else None,
    )


def _unlimited(card: ModelCard, most_items: int) -> ModelCard:
    """Speech cuts a batch by its own card's limit."""
    return replace(card, limits=replace(card.limits, max_items=most_items))


def _samples(adapter: Adapter[Any, Any], assignment: Assignment) -> list[Sample]:
    """The folder's items as the network gets them; those that cannot be read, or hold nothing to compute, are left out.

    Raises:
        ConfigError: none is left.
    """
    samples = [sample for content in _contents(assignment) if (sample := _prepared(adapter, content, assignment.media))]
    if not samples:
        media = MEDIA_OF_TASK[assignment.card.task]
        raise ConfigError(f"no {media} file in {assignment.folder} can be measured with; give --drop a folder of some")
    return samples


def _contents(assignment: Assignment) -> Iterator[Content]:
    task = assignment.card.task
    for item in itertools.islice(items_of(assignment.folder, task), _MOST_FILES):
        yield Content(media=item.media, data=path_of(item.uri or "").read_bytes())


def _prepared(adapter: Adapter[Any, Any], content: Content, media: MediaLimits) -> Sample | None:
    try:
        if content.media == "image":
            content = replace(content, prompts=_boxes(*image_size_hw(content.data, media)))
        [sample] = adapter.prepare([decode(content, limits=media, keeps_jpegs=decodes_jpegs(adapter))])
    except ItemError:
        return None
    return sample if sample.cost > 0 else None


def _boxes(height: int, width: int) -> Prompts:
    """For a promptable model: boxes around the middle, each a little larger than the one before it."""
    shares = (0.25 - 0.02 * n for n in range(_BOXES))
    boxes = (BoxPrompt(xyxy=(width * s, height * s, width * (1 - s), height * (1 - s))) for s in shares)
    return Prompts(boxes=tuple(boxes))


def _largest(samples: Sequence[Sample]) -> list[Sample]:
    """The quarter that costs most, at least one."""
    return sorted(samples, key=lambda sample: -sample.cost)[: max(1, math.ceil(_LARGEST * len(samples)))]
