"""Keeps every version of the answers that labeling platforms give; the last one of each counts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ARRAY, Text, any_, cast, func, select, text
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import ColumnElement

from pipelines.store.inserts import Row
from pipelines.store.jsonb import Json
from pipelines.store.tables import platform_answers, prelabels

_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended('prelabel answer ' || :key, 0))")

_COLUMNS = tuple(column for column in platform_answers.c if column.key != "noted_at")
# By the platform's clock; what has no moment is the last of all. Of versions of one moment a withdrawal is the last, as
# only what is there can be withdrawn. If one of them says that the pre-label was shown, then it was. Else the digest
# makes the choice the same in whatever order they come.
_LAST_FIRST = (
    platform_answers.c.updated_at.desc().nulls_first(),
    platform_answers.c.is_withdrawn.desc(),
    platform_answers.c.was_shown.desc().nulls_last(),
    platform_answers.c.digest.desc(),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerVersion:
    """What a platform said of an answer at a moment; what a withdrawal does not say is None."""

    id: int
    key: str
    updated_at: datetime | None
    is_withdrawn: bool
    digest: str
    prelabel_id: int | None
    created_at: datetime | None
    reviewer: str | None
    annotations: Json
    seconds: float | None
    was_shown: bool | None


async def hold_key(connection: AsyncConnection, key: str) -> None:
    """Let one transaction at a time add a version of an answer."""
    await connection.execute(_ONE_AT_A_TIME, {"key": key})


async def add_version(connection: AsyncConnection, version: Row) -> bool:
    """Keep a version; False where it is known. Its key is held."""
    known = select(platform_answers.c.id).where(
        *(platform_answers.c[name].is_not_distinct_from(version[name]) for name in ("key", "updated_at")),
        *(platform_answers.c[name] == version[name] for name in ("is_withdrawn", "digest")),
    )
    if (await connection.execute(known)).first() is not None:
        return False
    await connection.execute(insert(platform_answers).values(version))
    return True


async def last_version(connection: AsyncConnection, key: str) -> AnswerVersion | None:
    """How things stand with an answer; None where nothing is known of it."""
    found = await last_versions(connection, [key])
    return found[0] if found else None


async def last_versions(connection: AsyncConnection, keys: Collection[str]) -> list[AnswerVersion]:
    """How things stand with these answers, but for those of which nothing is known."""
    return await _last(connection, platform_answers.c.key == any_(cast(list(keys), ARRAY(Text))))


async def last_versions_of(connection: AsyncConnection, prelabel_ids: Collection[int]) -> list[AnswerVersion]:
    """How things stand with all answers about these pre-labels."""
    about = select(platform_answers.c.key).where(platform_answers.c.prelabel_id.in_(prelabel_ids))
    return await _last(connection, platform_answers.c.key.in_(about))


async def count_standing(connection: AsyncConnection, prefix: str) -> int:
    """How many answers stand whose keys begin so."""
    last = (
        select(platform_answers.c.is_withdrawn)
        .ext(distinct_on(platform_answers.c.key))
        .where(platform_answers.c.key.startswith(prefix, autoescape=True))
        .order_by(platform_answers.c.key, *_LAST_FIRST)
        .subquery()
    )
    standing = select(func.count()).select_from(last).where(~last.c.is_withdrawn)
    return (await connection.execute(standing)).scalar_one()


async def named_prelabels(connection: AsyncConnection, keys: Collection[str]) -> dict[str, tuple[str, str]]:
    """The run and the item that each of these answers is about, where that is known."""
    query = (
        select(platform_answers.c.key, prelabels.c.run_id, prelabels.c.item_id)
        .distinct()
        .select_from(platform_answers.join(prelabels))
        .where(platform_answers.c.key == any_(cast(list(keys), ARRAY(Text))))
    )
    return {row.key: (row.run_id, row.item_id) for row in await connection.execute(query)}


async def prelabel_of(connection: AsyncConnection, key: str) -> int | None:
    """The pre-label that an answer is about; None where that is not known yet."""
    about = select(platform_answers.c.prelabel_id).where(
        platform_answers.c.key == key, platform_answers.c.prelabel_id.is_not(None)
    )
    return (await connection.execute(about.limit(1))).scalar()


async def _last(connection: AsyncConnection, condition: ColumnElement[bool]) -> list[AnswerVersion]:
    query = (
        select(*_COLUMNS)
        .ext(distinct_on(platform_answers.c.key))
        .where(condition)
        .order_by(platform_answers.c.key, *_LAST_FIRST)
    )
    return [AnswerVersion(**row) for row in (await connection.execute(query)).mappings()]
