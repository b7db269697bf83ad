"""Reads the items that there were when a policy was fitted, and those that it has decided about since."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sqlalchemy import RowMapping, text

from pipelines.policy.periods import PastItem
from pipelines.store import engine as database
from pipelines.store import rows
from pipelines.store.evidence import PRE_LABEL_AND_ITEM
from pipelines.store.policies import StoredPolicy
from pipelines.store.store import Store

_MOST = 2_000  # items of each: enough to see a difference of some percent

# Of the random sample alone: what a policy sends to people takes them more than what it accepts, whatever has changed.
_COST = """
LEFT JOIN LATERAL (
    SELECT cost FROM corrections
    JOIN reviews ON reviews.id = corrections.review_id AND reviews.void_since IS NULL
    WHERE corrections.prelabel_id = prelabels.id AND stream NOT IN ('seeded', 'volunteered') AND (
        decisions.uniform_rate IS NOT NULL
        OR EXISTS (SELECT FROM sample_members WHERE prelabel_id = prelabels.id AND is_uniform)
    )
    ORDER BY review_id LIMIT 1
) AS corrected ON true
"""
_BEFORE = f"""
SELECT {PRE_LABEL_AND_ITEM}, corrected.cost, NULL AS route
FROM prelabels JOIN decisions ON decisions.prelabel_id = prelabels.id
JOIN items ON items.run_id = prelabels.run_id AND items.id = prelabels.item_id {_COST}
WHERE prelabels.task = :task AND prelabels.provenance -> 'chain' ->> 0 = :first_model AND prelabels.id <= :until
ORDER BY md5(prelabels.id::text) LIMIT {_MOST}
"""  # noqa: S608
_SINCE = f"""
SELECT {PRE_LABEL_AND_ITEM}, corrected.cost, decisions.route
FROM decisions JOIN prelabels ON prelabels.id = decisions.prelabel_id
JOIN items ON items.run_id = prelabels.run_id AND items.id = prelabels.item_id {_COST}
WHERE prelabels.id IN (
    SELECT prelabel_id FROM (
        SELECT prelabel_id FROM decisions WHERE policy_id = :policy_id AND prelabel_id > :until
        ORDER BY prelabel_id LIMIT CAST(:first AS bigint)
    ) AS first ORDER BY prelabel_id DESC LIMIT {_MOST}
)
"""  # noqa: S608

_These = dict[str, str | int | None]


class Periods:
    """The past of a store."""

    def __init__(self, store: Store) -> None:
        self._engine = store.engine

    async def before(self, stored: StoredPolicy) -> Sequence[PastItem]:
        """Up to 2,000 of the items that there were when the policy was fitted, at random."""
        conditions = stored.policy.conditions
        these: _These = {
            "task": stored.policy.task,
            "first_model": conditions.chain[0],
            "until": stored.evidence["until"],
        }
        found = await self._read(_BEFORE, these | {"until": stored.evidence["until"]})
        return [one for one in found if conditions.broken_by(one.item, one.pre_label.provenance, source=None) is None]

    async def since(self, stored: StoredPolicy, *, first: int | None = None) -> Sequence[PastItem]:
        """The last 2,000 items that the policy has decided about after its fit; of the ``first`` so many, or of all."""
        these: _These = {
            "policy_id": stored.policy.id,
            "until": stored.evidence["until"],
            "first": first,
        }
        return await self._read(_SINCE, these | {"until": stored.evidence["until"]})

    async def _read(self, query: str, these: _These) -> list[PastItem]:
        async with database.reading(self._engine) as connection:
            found = (await connection.execute(text(query), these)).mappings().all()
        return await asyncio.to_thread(lambda: [_past(row) for row in found])


def _past(row: RowMapping) -> PastItem:
    return PastItem(item=rows.item(row), pre_label=rows.pre_label(row), cost=row["cost"], route=row["route"])
