"""Reads from the store who was drawn for the random sample, and what people said of those that were chosen."""

from __future__ import annotations

from sqlalchemy import text

from models.types import Annotation
from pipelines.store import engine as database
from pipelines.store import rows
from pipelines.store.store import Store

# By routing, or by a sample.
_DRAWN = """
SELECT prelabels.item_id FROM decisions JOIN prelabels ON prelabels.id = decisions.prelabel_id
WHERE decisions.uniform_rate IS NOT NULL
UNION
SELECT prelabels.item_id FROM sample_members JOIN prelabels ON prelabels.id = sample_members.prelabel_id
WHERE sample_members.is_uniform
"""
_CHOSEN = f"""
SELECT prelabels.item_id, reviews.annotations
FROM sample_members
JOIN prelabels ON prelabels.id = sample_members.prelabel_id
JOIN review_tasks ON review_tasks.prelabel_id = prelabels.id AND review_tasks.stream = 'sampled'
JOIN reviews ON reviews.task_id = review_tasks.id
WHERE NOT sample_members.is_uniform AND prelabels.item_id NOT IN ({_DRAWN})
ORDER BY reviews.id
"""  # noqa: S608


async def drawn_ids(store: Store) -> list[str]:
    """The items of the random sample, whatever drew them: calibrations and certificates stand on these."""
    async with database.reading(store.engine) as connection:
        return sorted((await connection.execute(text(_DRAWN))).scalars())


async def lessons_of(store: Store) -> dict[str, tuple[Annotation, ...]]:
    """What people said of the items that a strategy chose, by id, without any of the random sample.

    An item that was chosen first and drawn later is of the sample: what trains must not certify.
    """
    async with database.reading(store.engine) as connection:
        found = (await connection.execute(text(_CHOSEN))).mappings().all()
    return {row["item_id"]: rows.ANNOTATIONS.validate_python(row["annotations"]) for row in found}
