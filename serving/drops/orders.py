"""Holds what somebody wants labelled, and finds the run that goes on with it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from models.errors import ConfigError
from models.types import Task
from pipelines.errors import NotFoundError
from pipelines.fetch import FetchPolicy
from pipelines.formats import run_manifest
from pipelines.sources import opening
from pipelines.store.store import Store
from pipelines.store.values import Run

AUTO = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A drop, as it was named, to be labelled for a task, with the results in a folder.

    ``kind`` says what the drop is where its name does not. ``roots`` are folders beside the drop's own that its items
    may lie in.
    """

    drop: str
    task: Task
    out: Path
    kind: str | None = None
    roots: tuple[Path, ...] = ()

    def as_source(self) -> dict[str, str]:
        """The order as a run remembers it; ``kind`` beside it is the source's, what the drop turned out to be."""
        roots = os.pathsep.join(str(root.absolute()) for root in self.roots)
        out, kind = str(self.out.absolute()), self.kind or ""
        named = {"drop": _located(self.drop), "out": out, "named_kind": kind, "roots": roots}
        return {key: value for key, value in named.items() if value}

    def opened(self, policy: FetchPolicy) -> FetchPolicy:
        """The policy with the drop's folders open: who names them at the command line may read them."""
        policy = opening(policy, self.drop)
        return replace(policy, roots=(*policy.roots, *(root.absolute() for root in self.roots)))

    @staticmethod
    def of(run: Run) -> Order:
        """The order that a run was begun with.

        Raises:
            ConfigError: the run is not over a drop that was labelled into a folder.
        """
        if run.is_posted:
            raise ConfigError(
                f"run '{run.id}' was posted to a service, which works on it while it is up; 'prelabel runs redrive' "
                "lets it try again what has failed, and 'prelabel export' writes what it has come to"
            )
        if run.source is None or run.task is None or not run.source.keys() >= {"drop", "out"}:
            raise ConfigError(f"run '{run.id}' is not over a drop that was labelled from the command line")
        roots = filter(None, run.source.get("roots", "").split(os.pathsep))
        return Order(
            drop=run.source["drop"],
            task=run.task,
            out=Path(run.source["out"]),
            kind=run.source.get("named_kind"),
            roots=tuple(map(Path, roots)),
        )


async def find(store: Store, order: Order | None, resume: str | None) -> tuple[Order, Run | None]:
    """The order to work on, and the run that has begun it, if it goes on with one.

    Args:
        order: what was ordered; None where ``resume`` names a run.
        resume: a run's id; "auto" for the one that the order's folder holds.

    Raises:
        ConfigError: there is neither an order nor a run, or both; the folder holds a run that is not finished, or one
            over another drop.
        NotFoundError: there is no such run.
    """
    if resume is not None and resume != AUTO:
        if order is not None:
            raise ConfigError(f"run '{resume}' has its drop, task and folder already; give --resume alone")
        run = await store.run(resume)
        return Order.of(run), run
    if order is None:
        raise ConfigError("there is nothing to label; give a drop, --task and --out, or --resume RUN")
    run = await _held_by(store, order.out)
    if run is None:
        return order, None
    if resume == AUTO:
        check_same(order, run)
        return order, run
    if run.status != "done":
        raise ConfigError(
            f"{order.out} holds run '{run.id}', which is {run.status} and not finished; "
            "go on with it by --resume auto, or name another folder"
        )
    return order, None


def check_same(order: Order, run: Run) -> None:
    """Make sure that an order is the one that a run was begun with.

    Raises:
        ConfigError: it is another.
    """
    began = (run.source or {}) | {"task": run.task}
    now = order.as_source() | {"task": order.task}
    if differs := [name for name in ("drop", "task", "named_kind") if began.get(name) != now.get(name)]:
        said = ", ".join(f"{name} '{began.get(name, '')}'" for name in differs)
        raise ConfigError(f"{order.out} holds run '{run.id}' over {said}; give that, or name another folder")


def check_unchanged(run: Run, *, source: Mapping[str, str], fingerprint: Mapping[str, str]) -> None:
    """Make sure that a run goes on with what it began with.

    Raises:
        ConfigError: the source, a model, the policy, the rules or the ontology is another one now; the message says
            which.
    """
    if changed := changes(run, source=source, fingerprint=fingerprint):
        raise ConfigError(
            f"run '{run.id}' cannot go on: {', '.join(changed)} changed since it began; "
            "label into another folder, which begins a new run"
        )


def changes(run: Run, *, source: Mapping[str, str], fingerprint: Mapping[str, str]) -> list[str]:
    """The names of what is another now than when the run began: of its source, as long as that is read, and of what
    labels it (serving/drops/fingerprint.py)."""
    began = (run.source or {}) | (run.fingerprint or {})
    now = {**source, **fingerprint}
    if run.is_listed:
        began, now = run.fingerprint or {}, dict(fingerprint)
    return [name for name in sorted(began.keys() | now.keys()) if began.get(name) != now.get(name)]


async def _held_by(store: Store, out: Path) -> Run | None:
    """The run that a folder's run.json names, if this store knows it."""
    if (manifest := run_manifest.read(out)) is None:
        return None
    try:
        return await store.run(manifest.run)
    except NotFoundError:
        return None


def _located(drop: str) -> str:
    """A local path as seen from everywhere."""
    return drop if "://" in drop else str(Path(drop).absolute())
