"""Gives each task the policy and the calibration that are in force, as they change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from models.types import Task
from pipelines.calibration import Calibration
from pipelines.errors import StoreUnavailableError
from pipelines.policy.certified import CertifiedPolicy
from pipelines.policy.policy import Policy
from pipelines.policy.standing import Standing
from pipelines.policy.suspended import SuspendedPolicy
from pipelines.policy.terms import Terms

logger = logging.getLogger(__name__)

_LOOK_S = 1.0  # for another policy, and for a suspension
_PATIENCE_S = 30.0  # with a store that does not answer, before everything is reviewed: others may still reach it


class Stands(Protocol):
    """What knows the certified policies (pipelines/store/policies.py)."""

    async def in_force(self) -> Mapping[Task, Standing]: ...

    async def standing(self, policy_id: str) -> Standing | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """The policy that a run began with, and stays with; ``standing`` is None where that is the configuration's."""

    policy_id: str
    standing: Standing | None


class InForce:
    """The policies of all tasks: the store's, and for a task without one the configuration's thresholds.

    A policy that is suspended, or was certified under another guideline than the configured, sends everything to
    humans. Who looks every second accepts for at most so long under a policy that has been suspended meanwhile, and for
    30 s where the store does not answer.
    """

    def __init__(
        self,
        stands: Stands,
        *,
        configured: Mapping[Task, Policy],
        terms: Mapping[Task, Terms],
        pinned: Mapping[Task, Pinned] | None = None,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        """``pinned`` are policies that stay, as long as they are not suspended."""
        self._patience_s = patience_s
        self._stands, self._configured, self._terms, self._pinned = stands, configured, terms, pinned or {}
        self._policies: dict[Task, Policy] = dict(configured)
        self._calibrations: dict[Task, Calibration] = {}
        self.policies: Mapping[Task, Policy] = MappingProxyType(self._policies)
        self.calibrations: Mapping[Task, Calibration] = MappingProxyType(self._calibrations)
        self._take({task: pin.standing for task, pin in self._pinned.items() if pin.standing is not None})

    async def look(self) -> None:
        """Take over what the store says now.

        Raises:
            StoreUnavailableError: it does not answer.
        """
        standings = dict(await self._stands.in_force()) if self._configured.keys() - self._pinned.keys() else {}
        for task, pin in self._pinned.items():
            standings.pop(task, None)
            if pin.standing is not None and (standing := await self._stands.standing(pin.policy_id)) is not None:
                standings[task] = standing
        self._take(standings)

    def _take(self, standings: Mapping[Task, Standing]) -> None:
        self._calibrations.clear()
        for task, configured in self._configured.items():
            standing = standings.get(task)
            self._policies[task] = configured if standing is None else self._may_accept(task, standing)
            if standing is not None and standing.calibration is not None:
                self._calibrations[task] = standing.calibration

    @asynccontextmanager
    async def looking(self, *, look_s: float = _LOOK_S) -> AsyncIterator[InForce]:
        """Look now, and again and again as long as the context lasts.

        Raises:
            StoreUnavailableError: the store does not answer, and what is in force is not known.
        """
        with suppress(StoreUnavailableError) if self._configured.keys() <= self._pinned.keys() else nullcontext():
            await self.look()
        watching = asyncio.create_task(self._keep_looking(look_s))
        try:
            yield self
        finally:
            watching.cancel()
            await asyncio.wait([watching])

    async def _keep_looking(self, look_s: float) -> None:
        clock = asyncio.get_running_loop().time
        looked = clock()
        while True:
            await asyncio.sleep(look_s)
            try:
                await self.look()
                looked = clock()
            except StoreUnavailableError:
                if clock() - looked > self._patience_s:
                    self._suspend_all("the store does not answer, and may know of a suspension")
            except Exception:  # an error of ours must not let a policy accept for ever
                logger.exception("it cannot be told which policies are in force")
                self._suspend_all("it cannot be told whether it is still in force; the service's log says why")

    def _suspend_all(self, why: str) -> None:
        for task, policy in self._policies.items():
            if isinstance(policy, CertifiedPolicy):
                self._policies[task] = SuspendedPolicy(policy=policy, why=why)

    def _may_accept(self, task: Task, standing: Standing) -> Policy:
        if standing.suspended is not None:
            return SuspendedPolicy(policy=standing.policy, why=standing.suspended)
        certified_under, terms = standing.policy.terms.guideline, self._terms.get(task)
        if terms is not None and terms.guideline != certified_under:
            why = f"the guideline is '{terms.guideline}' now, and was '{certified_under}' when the policy was certified"
            return SuspendedPolicy(policy=standing.policy, why=why)
        return standing.policy
