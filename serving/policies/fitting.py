"""Fits the policy of a task to what the store holds, and keeps it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from models.errors import ConfigError
from models.types import Task
from pipelines.audit import reviewer_sensitivity
from pipelines.errors import NotFoundError
from pipelines.policy.fit import Fit, Fitted, fit
from pipelines.policy.terms import Terms
from pipelines.store.evidence import EvidenceReader
from pipelines.store.ledger import Ledger
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
        keep: keep the calibration of the last round.

    Raises:
        ConfigError: there is no pre-label by the configured models, or too few random ones are answered; nothing of
            delta is spent.
        NotFoundError: no calibration to keep.
    """
    conditions = conditions_of(settings, task)
    evidence = await EvidenceReader(store).read(task, conditions, run_id=run_id)
    if not evidence.pool:
        raise ConfigError(
            f"no pre-label for {task} was made by the configured models, {' → '.join(conditions.chain)}, under the "
            "configured rules and ontology; label something first"
        )
    if len(evidence.judged) < terms.min_n:
        raise ConfigError(
            f"{len(evidence.judged)} items of the random sample are answered, and {evidence.pending} wait or are left "
            f"out until others are; a fit wants {terms.min_n} (min_n), and would spend its part of delta for nothing. "
            "Answer them, or draw more by 'prelabel sample RUN --strategy random'"
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
    if terms.audits == "shown":
        seen = await Ledger(store).sensitivity(queue=terms.queue)
        this = replace(this, reviewers=reviewer_sensitivity(seen.caught, seen.planted, delta=terms.delta / 2))
    if keep:
        this = _kept(this, await policies.list(task=task))
    fitted = await asyncio.to_thread(fit, evidence, this)
    await policies.add(fitted)
    return fitted


def _kept(this: Fit, earlier: Sequence[StoredPolicy]) -> Fit:
    """What to fit with, if the calibration of the last round stays.

    Its threshold is no start for another walk: it was chosen by answers that are in this sample, too.
    """
    conditions = this.conditions
    last = next((one.calibration for one in earlier if one.calibration is not None), None)
    if last is None or not last.applies_to(conditions.chain, conditions.config_digest):
        raise NotFoundError(message=f"no calibration of the configured models for {this.task} to keep; fit one first")
    return replace(this, calibration=last)
