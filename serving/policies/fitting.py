"""Fits the policy of a task to what the store holds, and keeps it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from models.errors import ConfigError
from models.types import Task
from pipelines.errors import NotFoundError
from pipelines.policy.evidence import Evidence
from pipelines.policy.fit import Fit, Fitted, fit
from pipelines.policy.terms import Terms
from pipelines.store.evidence import EvidenceReader
from pipelines.store.policies import Policies, StoredPolicy
from pipelines.store.store import Store
from serving.policies.conditions import conditions_of
from serving.settings import Settings


async def fit_policy(
    store: Store, settings: Settings, task: Task, terms: Terms, *, run_id: str | None = None, keep: bool = False
) -> Fitted:
    """Fit a policy to the random sample's reviews and keep it; it is not in force by that.

    Args:
        run_id: look at this run alone.
        keep: keep the calibration of the last round, so that its threshold can be gone on from.

    Raises:
        ConfigError: there is no pre-label by the configured models.
        NotFoundError: no calibration to keep.
    """
    conditions = conditions_of(settings, task)
    evidence = await EvidenceReader(store).read(task, conditions, run_id=run_id)
    if not evidence.pool:
        raise ConfigError(
            f"no pre-label for {task} was made by the configured models, {' → '.join(conditions.chain)}, under the "
            "configured rules and ontology; label something first"
        )
    policies = Policies(store)
    this = Fit(
        task=task,
        terms=terms,
        conditions=conditions,
        round=await policies.next_round(task),
        seed=secrets.token_hex(16),
        now=datetime.now(UTC),
    )
    if keep:
        evidence, this = _kept(evidence, this, await policies.list(task=task))
    fitted = await asyncio.to_thread(fit, evidence, this)
    await policies.add(fitted)
    return fitted


def _kept(evidence: Evidence, this: Fit, earlier: Sequence[StoredPolicy]) -> tuple[Evidence, Fit]:
    """What to fit with, if the calibration of the last round stays.

    Its threshold may be gone on from by labels that it was not chosen with; that is done where these are at least half
    of all, which says nothing about what they are.
    """
    last = next((one for one in earlier if one.calibration is not None), None)
    if last is None or last.calibration is None:
        raise NotFoundError(message=f"no calibration for {this.task} to keep; fit one first")
    calibrated_on = frozenset(last.evidence["calibrated_on"])
    this = replace(this, calibration=last.calibration, calibrated_on=calibrated_on)
    new = [one for one in evidence.judged if one.prelabel_id not in calibrated_on | set(last.evidence["certified_on"])]
    if 2 * len(new) < len(evidence.judged):
        return evidence, this
    starts = {name: one.threshold for name, one in last.policy.certificates.items() if one.is_certified}
    return replace(evidence, judged=new), replace(this, starts=starts)
