"""Suspends a policy when the answers to its audits say that its promise is broken."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from pipelines.audit import Drift, Sensitivity, drifts, reviewer_sensitivity
from pipelines.corrections.acceptable import loss
from pipelines.errors import StoreUnavailableError
from pipelines.policy.audited import AuditedItem, AuditReport, Verdict, audit_report, verdict
from pipelines.policy.certified import CertifiedPolicy
from pipelines.policy.periods import period
from pipelines.store.audits import Answered, Audits
from pipelines.store.ledger import Ledger
from pipelines.store.periods import Periods
from pipelines.store.policies import AUDITS, DRIFT, Policies
from pipelines.store.store import Store
from pipelines.types import Route

logger = logging.getLogger(__name__)

_LOOK_S = 1.0
_DRIFT_ITEMS = 500  # that a policy decides about from one look for drift to the next
_COUNT_S = 30.0  # from one count of these to the next
_DRIFT_LEVEL = 0.01  # of all these looks together


class Watch:
    """Looks at the audits of the policies that are in force, as answers come in.

    Several processes may do so at the same time: whoever is first suspends, and the others find it done.
    """

    def __init__(self, store: Store) -> None:
        self._policies, self._audits, self._ledger = Policies(store), Audits(store), Ledger(store)
        self._periods = Periods(store)
        self._count_again = dict[str, float]()  # by policy, when
        self._looked_for_drift = dict[str, int]()  # by policy, after how many times 500 items
        self._items = defaultdict[str, dict[int, AuditedItem]](dict)  # by policy and review, what was read so far

    async def look(self) -> list[str]:
        """Suspend what is broken, or has drifted where the terms want that; the ids of what this has suspended."""
        return [policy.id for policy in await self._policies.accepting() if await self._suspend(policy)]

    async def _suspend(self, policy: CertifiedPolicy) -> bool:
        """Whether a policy has been suspended now; what goes wrong with one is no reason not to look at the others."""
        try:
            return await self._suspend_if_broken(policy) or await self._suspend_if_drifted(policy)
        except StoreUnavailableError:
            raise
        except Exception:
            logger.exception("the audits of policy '%s' cannot be looked at", policy.id)
            return False

    async def report(self, policy: CertifiedPolicy, *, run_id: str | None = None) -> AuditReport:
        """How a policy's promise does, in all runs or in one."""
        answered = await self._audits.answered(policy.id, run_id=run_id)
        items = await asyncio.to_thread(lambda: [_item(policy, one) for one in answered])
        decided = await self._audits.decided(policy.id, run_id=run_id)
        routes: dict[Route, int] = {route: one.items for route, one in decided.items()}
        set_aside = decided["audit"].dead if "audit" in decided else 0
        reviewers = await self._reviewers(policy)
        return await asyncio.to_thread(
            lambda: audit_report(policy, items, routes, set_aside=set_aside, reviewers=reviewers)
        )

    async def drift(self, policy_id: str, *, level: float = _DRIFT_LEVEL, first: int | None = None) -> list[Drift]:
        """How the items that a policy decides about differ from those before its fit, the most surprising first.

        Args:
            first: look at so many of its items and no later ones; None for all.

        Raises:
            NotFoundError: there is no such policy.
        """
        stored = await self._policies.get(policy_id)
        before, now = await self._periods.before(stored), await self._periods.since(stored, first=first)

        def compare() -> list[Drift]:
            described = (period(items, stored.policy, stored.calibration) for items in (before, now))
            return drifts(*described, level=level)

        return await asyncio.to_thread(compare)

    @asynccontextmanager
    async def watching(self, *, look_s: float = _LOOK_S) -> AsyncIterator[None]:
        """Look again and again as long as the context lasts."""
        watching = asyncio.create_task(self._keep_looking(look_s))
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.wait([watching])

    async def _keep_looking(self, look_s: float) -> None:
        while True:
            await asyncio.sleep(look_s)
            try:
                await self.look()
            except StoreUnavailableError:
                pass  # it is looked at again
            except Exception:
                logger.exception("the audits cannot be looked at")

    async def _suspend_if_broken(self, policy: CertifiedPolicy) -> bool:
        known = await self._still_known(policy)
        if not (new := await self._audits.answered(policy.id, known=known.keys())):
            return False
        reviewers = await self._reviewers(policy)

        def judge() -> tuple[dict[int, AuditedItem], Verdict]:
            items = known | {one.review_id: _item(policy, one) for one in new}
            return items, verdict(policy, [item for _, item in sorted(items.items())], reviewers=reviewers)

        items, found = await asyncio.to_thread(judge)
        if not found.is_broken:
            self._items[policy.id] = items  # only now: what could not be finished is looked at again
            return False
        logger.warning("policy '%s' is suspended: %s", policy.id, found.summary())
        return await self._policies.suspend(policy.id, actor=AUDITS, reason=found.summary())

    async def _still_known(self, policy: CertifiedPolicy) -> dict[int, AuditedItem]:
        """What was read so far, without what was replaced or withdrawn since."""
        if known := self._items[policy.id]:
            for void in await self._audits.void(known.keys()):
                del known[void]
        return known

    async def _suspend_if_drifted(self, policy: CertifiedPolicy) -> bool:
        """Look each time that 500 items more have been decided about.

        The k-th look spends 6 / (π k)² of the level, so that all of them together err with that probability at most. It
        is about the first 500 k items, so that another process, or this one after a restart, finds the same.
        """
        now = asyncio.get_running_loop().time()
        if policy.terms.drift == "show" or now < self._count_again.get(policy.id, now):
            return False
        self._count_again[policy.id] = now + _COUNT_S
        decided = sum(one.items for one in (await self._audits.decided(policy.id)).values())
        looks = decided // _DRIFT_ITEMS
        if looks == self._looked_for_drift.get(policy.id, 0):
            return False
        level = _DRIFT_LEVEL * 6.0 / (math.pi * looks) ** 2
        drift = await self.drift(policy.id, level=level, first=looks * _DRIFT_ITEMS)
        found = [one for one in drift if one.is_significant]
        if not found:
            self._looked_for_drift[policy.id] = looks
            return False
        why = f"the items are no longer like those it was certified on: {drifted(found)}"
        return await self._policies.suspend(policy.id, actor=DRIFT, reason=why)

    async def _reviewers(self, policy: CertifiedPolicy) -> Sensitivity | None:
        """How many errors people notice in pre-labels that they see; None where audits are blind."""
        terms = policy.terms
        if terms.audits == "blind":
            return None
        seen = await self._ledger.sensitivity(queue=terms.queue)
        return reviewer_sensitivity(seen.caught, seen.planted, delta=terms.delta / 2)


def drifted(found: Sequence[Drift]) -> str:
    """What has drifted, for people."""
    return "; ".join(f"{one.what} of {one.slice} (p = {one.adjusted_p:.2g})" for one in found)


def _item(policy: CertifiedPolicy, one: Answered) -> AuditedItem:
    said, acceptable = one.prediction.annotations, policy.terms.acceptable(policy.task)
    return AuditedItem(
        route=one.route,
        propensity=one.propensity,
        uniform_rate=one.uniform_rate,
        loss=loss(policy.task, said, one.answer, acceptable),
    )
