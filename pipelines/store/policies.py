"""Keeps calibrations and certified policies, and which policy is in force for each task."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ARRAY, Text, any_, cast, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from models.types import Task
from pipelines.calibration import CALIBRATION, Calibration
from pipelines.errors import ConflictError, NotFoundError
from pipelines.policy.certified import POLICY, CertifiedPolicy
from pipelines.policy.fit import Fitted
from pipelines.policy.standing import Standing
from pipelines.store import engine as database
from pipelines.store.jsonb import storable, to_json
from pipelines.store.store import Store
from pipelines.store.tables import calibrations, policies, policy_events

Action = Literal["activated", "suspended", "retired"]
State = Literal["fitted", "active", "suspended", "superseded", "retired"]

# By task: the policy of the last event that put one in force or took it out, and what suspended it since.
_IN_FORCE = text("""
SELECT DISTINCT ON (event.task) event.task, event.policy_id, event.action, later.reason AS suspended
FROM policy_events AS event
LEFT JOIN LATERAL (
    SELECT reason FROM policy_events
    WHERE policy_id = event.policy_id AND action = 'suspended' AND id > event.id
    ORDER BY id LIMIT 1
) AS later ON true
WHERE event.action IN ('activated', 'retired')
ORDER BY event.task, event.id DESC
""")
_SUSPENDED = text("""
SELECT reason FROM policy_events AS event
WHERE policy_id = :policy_id AND action = 'suspended' AND NOT EXISTS (
    SELECT FROM policy_events WHERE policy_id = event.policy_id AND action = 'activated' AND id > event.id
)
ORDER BY id LIMIT 1
""")

_ACCEPTING = text("""
SELECT policies.id FROM policies
WHERE EXISTS (SELECT FROM policy_events WHERE policy_id = policies.id AND action = 'activated') AND NOT EXISTS (
    SELECT FROM policy_events AS event
    WHERE policy_id = policies.id AND action = 'suspended' AND NOT EXISTS (
        SELECT FROM policy_events WHERE policy_id = event.policy_id AND action = 'activated' AND id > event.id
    )
) AND (
    policies.id = (
        SELECT policy_id FROM policy_events
        WHERE task = policies.task AND action IN ('activated', 'retired') ORDER BY id DESC LIMIT 1
    )
    OR EXISTS (SELECT FROM runs WHERE fingerprint ->> 'policy' = policies.id AND status IN ('queued', 'running'))
)
ORDER BY policies.id
""")
_BROKEN = text("""
SELECT reason FROM policy_events WHERE policy_id = :policy_id AND action = 'suspended' AND actor = :actor LIMIT 1
""")

AUDITS, DRIFT = "audits", "drift"  # who suspends a policy whose promise is broken, or void (pipelines/watch.py)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyEvent:
    """Something that happened to a task's policy, and who or what did it."""

    id: int
    at: datetime
    task: Task
    action: Action
    policy_id: str
    reason: str
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPolicy:
    """A policy with its history. ``evidence`` names the pre-labels that it stands on (Policies.add)."""

    policy: CertifiedPolicy
    calibration: Calibration | None
    state: State
    created_at: datetime
    evidence: dict[str, Any]
    events: tuple[PolicyEvent, ...]


class Policies:
    """The policies of a store; they and what happened to them are written once."""

    def __init__(self, store: Store) -> None:
        self._engine = store.engine

    async def next_round(self, task: Task) -> int:
        """The number of the next fit, from 1; every fit spends a part of delta, whatever becomes of it."""
        last = select(func.coalesce(func.max(policies.c.round), 0)).where(policies.c.task == task)
        async with database.reading(self._engine) as connection:
            return (await connection.execute(last)).scalar_one() + 1

    async def add(self, fitted: Fitted) -> None:
        """Keep a fitted policy with its calibration and what both stand on; it is not in force by that.

        Raises:
            ConflictError: somebody else has fitted the same round meanwhile (round_taken).
        """
        policy, calibration = fitted.policy, fitted.calibration
        row = {
            "id": policy.id,
            "task": policy.task,
            "round": policy.round,
            "calibration_id": policy.calibration_id,
            "content": to_json(json.loads(POLICY.dump_json(policy))),
            "evidence": evidence_of(fitted),
        }
        async with database.transaction(self._engine) as connection:
            if calibration is not None:
                content = to_json(json.loads(CALIBRATION.dump_json(calibration)))
                known = {"id": calibration.id, "task": policy.task, "content": content}
                await connection.execute(insert(calibrations).values(known).on_conflict_do_nothing())
            added = insert(policies).values(row).on_conflict_do_nothing().returning(policies.c.id)
            if (await connection.execute(added)).first() is None:
                message = f"round {policy.round} of the policy for {policy.task} is taken by now; fit again"
                raise ConflictError("round_taken", message)

    async def get(self, policy_id: str) -> StoredPolicy:
        """A policy and its history.

        Raises:
            NotFoundError: there is none of this id.
        """
        found = await self.list(policy_id=policy_id)
        if not found:
            raise NotFoundError(message=f"no policy '{policy_id}'; 'prelabel policy show' lists them")
        return found[0]

    async def list(self, *, task: Task | None = None, policy_id: str | None = None) -> Sequence[StoredPolicy]:
        """The policies, the newest round of each task first."""
        wanted = select(policies, calibrations.c.content.label("calibration")).outerjoin(calibrations)
        if task is not None:
            wanted = wanted.where(policies.c.task == task)
        if policy_id is not None:
            wanted = wanted.where(policies.c.id == storable(policy_id))
        async with database.reading(self._engine) as connection:
            rows = (
                (await connection.execute(wanted.order_by(policies.c.task, policies.c.round.desc()))).mappings().all()
            )
            events = await _events(connection, [row["id"] for row in rows])
            in_force = {row["policy_id"] for row in await _in_force(connection) if row["action"] == "activated"}
        return [_stored(row, events.get(row["id"], ()), is_in_force=row["id"] in in_force) for row in rows]

    async def in_force(self) -> dict[Task, Standing]:
        """The policy of each task that has one in force, suspended or not."""
        async with database.reading(self._engine) as connection:
            found = [row for row in await _in_force(connection) if row["action"] == "activated"]
            return {
                row["task"]: await _standing(connection, row["policy_id"], suspended=row["suspended"]) for row in found
            }

    async def accepting(self) -> list[CertifiedPolicy]:
        """The policies that may accept items: those in force, and those that unfinished runs began with."""
        async with database.reading(self._engine) as connection:
            found = await connection.execute(_ACCEPTING)
            standings = [await _standing(connection, row.id, suspended=None) for row in found]
        return [standing.policy for standing in standings]

    async def standing(self, policy_id: str) -> Standing | None:
        """A policy as it stands, whatever is in force by now; None where the store has none of this id."""
        async with database.reading(self._engine) as connection:
            this = policies.c.id == storable(policy_id)
            if (await connection.execute(select(policies.c.id).where(this))).first() is None:
                return None
            suspended = (await connection.execute(_SUSPENDED, {"policy_id": storable(policy_id)})).scalar()
            return await _standing(connection, policy_id, suspended=suspended)

    async def activate(self, policy_id: str, *, actor: str, reason: str = "activated") -> None:
        """Put a policy in force for its task, in the place of any other.

        Raises:
            ConflictError: its audits have broken its promise (promise_broken).
        """
        async with database.transaction(self._engine) as connection:
            await _lock(connection, policy_id)
            broken = await connection.execute(_BROKEN, {"policy_id": storable(policy_id), "actor": AUDITS})
            if (why := broken.scalar()) is not None:
                message = f"policy '{policy_id}' cannot be activated again: {why}; fit a new one"
                raise ConflictError("promise_broken", message)
            await _insert_event(connection, policy_id, "activated", actor=actor, reason=reason)

    async def suspend(self, policy_id: str, *, actor: str, reason: str) -> bool:
        """Let a policy accept nothing any more, until it or another is activated; whether it could until now."""
        async with database.transaction(self._engine) as connection:
            await _lock(connection, policy_id)
            if (await connection.execute(_SUSPENDED, {"policy_id": storable(policy_id)})).first() is not None:
                return False
            await _insert_event(connection, policy_id, "suspended", actor=actor, reason=reason)
            return True

    async def retire(self, policy_id: str, *, actor: str, reason: str = "retired") -> None:
        """Take a policy out of force: the configuration's thresholds decide again."""
        async with database.transaction(self._engine) as connection:
            await _lock(connection, policy_id)
            await _insert_event(connection, policy_id, "retired", actor=actor, reason=reason)


def evidence_of(fitted: Fitted) -> dict[str, Any]:
    """What a policy stands on, for those who want to follow its figures: numbers of pre-labels, and counts."""
    return {
        "calibrated_on": list(fitted.calibrated_on),
        "certified_on": list(fitted.certified_on),
        "uncalibrated": fitted.uncalibrated,
        "pending": fitted.pending,
        "set_aside": fitted.set_aside,
        "shown": fitted.shown,
        "pool": fitted.pool,
        "until": fitted.until,
    }


async def _in_force(connection: AsyncConnection) -> Sequence[Mapping[Any, Any]]:
    return (await connection.execute(_IN_FORCE)).mappings().all()


async def _standing(connection: AsyncConnection, policy_id: str, *, suspended: str | None) -> Standing:
    query = select(policies.c.content, calibrations.c.content.label("calibration")).outerjoin(calibrations)
    row = (await connection.execute(query.where(policies.c.id == storable(policy_id)))).mappings().one()
    return Standing(policy=_policy(row), calibration=_calibration(row), suspended=suspended)


async def _lock(connection: AsyncConnection, policy_id: str) -> None:
    """Let one transaction at a time change what is in force for the policy's task."""
    found = await connection.execute(select(policies.c.task).where(policies.c.id == storable(policy_id)))
    if (task := found.scalar()) is None:
        raise NotFoundError(message=f"no policy '{policy_id}'; 'prelabel policy show' lists them")
    await connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"policy {task}", 0))))


async def _insert_event(
    connection: AsyncConnection, policy_id: str, action: Action, *, actor: str, reason: str
) -> None:
    task = select(policies.c.task).where(policies.c.id == storable(policy_id)).scalar_subquery()
    row = {"policy_id": storable(policy_id), "action": action, "actor": storable(actor), "reason": storable(reason)}
    await connection.execute(insert(policy_events).values(row | {"task": task}))


async def _events(connection: AsyncConnection, ids: Collection[str]) -> dict[str, tuple[PolicyEvent, ...]]:
    of_these = policy_events.c.policy_id == any_(cast(list(ids), ARRAY(Text)))
    found = await connection.execute(select(policy_events).where(of_these).order_by(policy_events.c.id))
    events: dict[str, tuple[PolicyEvent, ...]] = {}
    for row in found.mappings():
        events[row["policy_id"]] = (*events.get(row["policy_id"], ()), PolicyEvent(**row))
    return events


def _stored(row: Mapping[Any, Any], events: tuple[PolicyEvent, ...], *, is_in_force: bool) -> StoredPolicy:
    return StoredPolicy(
        policy=_policy(row),
        calibration=_calibration(row),
        state=_state(events, is_in_force=is_in_force),
        created_at=row["created_at"],
        evidence=row["evidence"],
        events=events,
    )


def _state(events: tuple[PolicyEvent, ...], *, is_in_force: bool) -> State:
    if not events:
        return "fitted"
    match events[-1].action:
        case "activated":
            return "active" if is_in_force else "superseded"
        case "suspended":
            return "suspended"
        case "retired":
            return "retired"


def _policy(row: Mapping[Any, Any]) -> CertifiedPolicy:
    return POLICY.validate_python(row["content"])


def _calibration(row: Mapping[Any, Any]) -> Calibration | None:
    return None if row["calibration"] is None else CALIBRATION.validate_python(row["calibration"])
