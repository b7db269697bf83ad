"""Chooses items of a run, or of all runs of a task, for humans to label, and queues them."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np

from models.types import Task
from pipelines.errors import ConflictError, InvalidRequestError, NotFoundError
from pipelines.sampling import STRATEGIES, Selected, Strategy, needs_embeddings, select, wanted_uncertainties
from pipelines.store.candidates import Candidates, read_candidates
from pipelines.store.jsonb import Json
from pipelines.store.rows import priority
from pipelines.store.samples import Member, Sample, Samples
from pipelines.store.store import Store

_SEEDS = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRequest:
    """What to choose; see pipelines.sampling.select for what the values mean.

    ``task`` may be left out for a run over a drop, ``run_id`` for all runs of a task. ``group_by`` is a key of the
    items' meta. ``queue`` is where the reviews go, that of the task if it is left out. With an ``id`` the request can
    be repeated; a ``seed`` makes the choice the same again while the store is.
    """

    budget: int
    queue: str | None = None
    task: Task | None = None
    run_id: str | None = None
    strategy: Strategy = "hybrid"
    explore: float = 0.1
    group_by: str | None = None
    quotas: Mapping[str, int] = field(default_factory=dict)
    radius: float | None = None
    most_cost: float | None = None
    seed: int | None = None
    id: str | None = None

    def shape(self) -> dict[str, Json]:
        """What must be the same for a repeated request, beside task, run, strategy and budget."""
        return {
            "explore": self.explore,
            "group_by": self.group_by,
            "quotas": dict(self.quotas),
            "radius": self.radius,
            "most_cost": self.most_cost,
            "queue": self.queue,
        }


async def draw(store: Store, request: SampleRequest, *, queues: Mapping[Task, str], is_dry: bool = False) -> Sample:
    """Choose the items, and queue the reviews of those that have none; with ``is_dry`` only choose.

    What has a review is labelled; what waits for one is queued. A repeated request gives the stored sample again.

    Args:
        queues: where the reviews of each task go; of others, to "default".

    Raises:
        InvalidRequestError: the request cannot be met: invalid_argument, or mixed_embeddings.
        NotFoundError: no such run.
        ConflictError: the id is that of another sample (sample_exists).
    """
    task = await _task_of(store, request)
    request = replace(request, queue=request.queue or queues.get(task, "default"))
    if request.id is not None and not is_dry:
        with suppress(NotFoundError):
            return _same(await Samples(store).read(request.id), request, task)
    candidates = await read_candidates(
        store,
        task,
        run_id=request.run_id,
        group_by=request.group_by,
        is_embedded=needs_embeddings(request.strategy, radius=request.radius),
    )
    seed = secrets.randbelow(_SEEDS) if request.seed is None else request.seed
    rng = np.random.default_rng(seed)
    sample = await asyncio.to_thread(_chosen, candidates, request, task, seed, rng)
    if is_dry:
        return sample
    written = await Samples(store).write(sample, rng=rng)
    return _same(written, request, task)


async def _task_of(store: Store, request: SampleRequest) -> Task:
    """The task, and that the run is there."""
    if request.seed is not None and not 0 <= request.seed < 2**63:
        raise InvalidRequestError("invalid_argument", f"seed must be from 0 to 2**63 - 1; got {request.seed}")
    if request.quotas and request.group_by is None:
        raise InvalidRequestError(
            "invalid_argument", "quotas are of groups; name the key of the items' meta to group by"
        )
    if request.strategy == "stratified" and request.group_by is None:
        raise InvalidRequestError("invalid_argument", "stratified needs slices; name the key of the items' meta")
    run = None if request.run_id is None else await store.run(request.run_id)
    task = request.task or (run.task if run is not None else None)
    if task is None:
        raise InvalidRequestError("invalid_argument", "name a task, or a run over a drop")
    return task


def _same(sample: Sample, request: SampleRequest, task: Task) -> Sample:
    """The sample, if it is what was asked for."""
    asked = (task, request.run_id, request.strategy, request.budget)
    was = (sample.task, sample.run_id, sample.strategy, sample.budget)
    shape = request.shape()
    is_same = asked == was and {name: sample.parameters.get(name) for name in shape} == shape
    if not is_same or request.seed not in (None, sample.seed):
        message = f"there is another sample '{sample.id}', asked for otherwise; take another id"
        raise ConflictError("sample_exists", message)
    return sample


def _chosen(candidates: Candidates, request: SampleRequest, task: Task, seed: int, rng: np.random.Generator) -> Sample:
    entries = candidates.entries
    ids = [str(entry.prelabel_id) for entry in entries]
    uncertainty = candidates.uncertainty(wanted_uncertainties(request.strategy))
    _check_embeddings(candidates, request)
    _check_uncertainty(candidates, request, has_any=bool(uncertainty))
    selected = select(
        ids,
        candidates.embeddings if entries else np.empty((0, 1)),
        uncertainty,
        [item_id for item_id, entry in zip(ids, entries, strict=True) if entry.is_labelled],
        request.budget,
        cost=[entry.cost for entry in entries],
        groups=None if request.group_by is None else [entry.group for entry in entries],
        strategy=request.strategy,
        explore=request.explore,
        quotas=dict(request.quotas) or None,
        radius=request.radius,
        most_cost=request.most_cost,
        queued_ids=[item_id for item_id, entry in zip(ids, entries, strict=True) if entry.has_task],
        drawn_from="all",
        rng=rng,
    )
    return Sample(
        id=request.id or uuid.uuid4().hex[:12],
        task=task,
        run_id=request.run_id,
        strategy=request.strategy,
        budget=request.budget,
        seed=seed,
        parameters=request.shape() | _pool(candidates, next(iter(uncertainty), None)),
        created_at=None,
        members=_members(candidates, selected),
    )


def _check_embeddings(candidates: Candidates, request: SampleRequest) -> None:
    if (
        candidates.embeddings is None
        and candidates.entries
        and needs_embeddings(request.strategy, radius=request.radius)
    ):
        missing, count = candidates.without_embedding, len(candidates.entries)
        need = f"the strategy {request.strategy}" if needs_embeddings(request.strategy) else "a radius"
        others = ", ".join(name for name in STRATEGIES if not needs_embeddings(name))
        raise InvalidRequestError(
            "invalid_argument",
            f"{need} needs an embedding of each item, and {missing:,} of {count:,} have none; set 'embeddings: true' "
            f"on the model's card and label them anew, or choose without a radius by one of: {others}",
        )


def _check_uncertainty(candidates: Candidates, request: SampleRequest, *, has_any: bool) -> None:
    wanted = wanted_uncertainties(request.strategy)
    if wanted and not has_any and candidates.entries and request.strategy not in ("hybrid", "stratified"):
        there = ", ".join(candidates.measures()) or "none"
        message = f"the strategy {request.strategy} needs the uncertainty {' or '.join(wanted)}; there are: {there}"
        raise InvalidRequestError("invalid_argument", message)


def _pool(candidates: Candidates, measure: str | None) -> dict[str, Json]:
    """What it was chosen from."""
    entries = candidates.entries
    labelled = sum(entry.is_labelled for entry in entries)
    return {
        "uncertainty": measure,
        "embeddings": candidates.model,
        "items": len(entries),
        "labelled": labelled,
        "queued": sum(entry.has_task and not entry.is_labelled for entry in entries),
        "hidden": candidates.hidden,
    }


def _members(candidates: Candidates, selected: list[Selected]) -> tuple[Member, ...]:
    """The chosen items. Where some cannot be shown, what was drawn from the others is no random sample of all."""
    is_of_all = candidates.hidden == 0
    entries = {str(entry.prelabel_id): entry for entry in candidates.entries}
    return tuple(
        Member(
            id=entries[one.id].item_id,
            run_id=entries[one.id].run_id,
            prelabel_id=entries[one.id].prelabel_id,
            reason=one.reason,
            utility=one.utility,
            propensity=one.propensity if is_of_all else None,
            is_uniform=one.is_uniform and is_of_all,
            is_queued=not entries[one.id].has_task,
            priority=priority(entries[one.id].uncertainty),
        )
        for one in selected
    )
