"""Says under which policy a run decides: the one that it began with."""

from __future__ import annotations

from models.types import Task
from pipelines.policy import Policy
from pipelines.policy.in_force import Pinned
from pipelines.store.policies import Policies
from pipelines.store.store import Store
from pipelines.store.values import Run
from serving.drops.fingerprint import POLICY


async def pinned(store: Store, run: Run | None, task: Task, configured: Policy) -> Pinned:
    """The policy of a run that goes on, or the one that is in force for a new one.

    Args:
        configured: the configuration's, which decides where the store has none.
    """
    policies = Policies(store)
    if run is not None and run.fingerprint:
        began_with = run.fingerprint.get(POLICY, configured.id)
        standing = await policies.standing(began_with)
    else:
        standing = (await policies.in_force()).get(task)
    return Pinned(policy_id=configured.id if standing is None else standing.policy.id, standing=standing)
