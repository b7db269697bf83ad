"""Takes in the answers that people give on a labeling platform: each once, the last version, until it is withdrawn."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ARRAY, Text, any_, cast, select
from sqlalchemy.ext.asyncio import AsyncConnection

from models.types import Annotation, Task
from pipelines.answer import problems, seconds_of, short, stored_annotations
from pipelines.errors import ConflictError, InvalidRequestError, NotFoundError
from pipelines.store import engine as database
from pipelines.store import rows
from pipelines.store.answer_versions import (
    AnswerVersion,
    add_version,
    count_standing,
    hold_key,
    last_version,
    last_versions,
    last_versions_of,
    named_prelabels,
    prelabel_of,
)
from pipelines.store.jsonb import storable
from pipelines.store.settling import VOLUNTEERED, settle
from pipelines.store.store import Store
from pipelines.store.tables import counts, platform_answers, prelabels, review_tasks, reviews

Standing = Literal["asked", "volunteered", "beside", "outdated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformAnswer:
    """What a human says on a platform about the item of a pre-label, as of ``updated_at``. A skip is no answer.

    Attributes:
        key: names the platform's annotation for ever, such as "label-studio:CONNECTION:ANNOTATION".
        run_id, item_id, task: name the pre-label.
        annotations: all that is right about the item; empty means that nothing is there.
        was_shown: whether the human could have seen the pre-label. False only if the platform does not have it, so that
            it cannot have chosen by it, either, whom or when to ask.
        created_at, updated_at: when the human gave the answer first, and this version, by the platform's clock.
        seconds: how long they worked on it.
    """

    key: str
    run_id: str
    item_id: str
    task: Task
    reviewer: str
    annotations: Sequence[Annotation]
    was_shown: bool
    created_at: datetime
    updated_at: datetime
    seconds: float | None = None

    @property
    def digest(self) -> str:
        """The sha256 of what is said, which is the same for versions that say the same.

        Raises:
            InvalidRequestError: it cannot be stored.
        """
        return str(_row(self)["digest"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What has become of an answer.

    Attributes:
        standing: asked: it answers the review task of its pre-label, like any review. volunteered: nobody had asked for
            it, or the task wants a blind answer: it is in the results and in the correction ledger, and no certificate
            or audit counts it. beside: somebody's earlier answer counts. outdated: the platform has said something
            newer.
        is_new: whether this version was not known.
    """

    standing: Standing
    is_new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The last version of an answer; ``updated_at`` is None where it is withdrawn for good.

    ``digest`` is PlatformAnswer.digest, and "" where it is withdrawn. ``run_id`` and ``item_id`` name the pre-label,
    which stays the same however often the item is labelled again; None where the withdrawal came before the answer.
    """

    run_id: str | None
    item_id: str | None
    updated_at: datetime | None
    is_withdrawn: bool
    digest: str


class PlatformAnswers:
    """The answers of platforms in a store.

    They may come in any order, again and again, and several at once: what counts in the end is the last version of
    each, by the platform's clock. Of several answers about one pre-label the one that was given first counts; when it
    is withdrawn, the next one does. What counted once stays in the table of reviews, void, and in the audit log.
    """

    def __init__(self, store: Store) -> None:
        self._engine = store.engine

    async def record(self, answer: PlatformAnswer) -> Recorded:
        """Take in a version of an answer, with its review and its correction, in one transaction.

        Raises:
            NotFoundError: no such pre-label.
            ConflictError: the key is that of an answer about another pre-label (key_reused).
            InvalidRequestError: the annotations cannot be true of an item of this task, or the key, the reviewer, the
                seconds or the moments are out of range.
        """
        if found := problems(answer.task, answer.annotations):
            raise InvalidRequestError("invalid_annotations", "; ".join(found[:5]))
        version = _row(answer)
        async with database.transaction(self._engine) as connection:
            await hold_key(connection, version["key"])
            version["prelabel_id"] = await _prelabel_id(connection, answer)
            if await prelabel_of(connection, version["key"]) not in (None, version["prelabel_id"]):
                raise _key_reused(answer)
            is_new = await add_version(connection, version)
            last = await last_version(connection, version["key"])
            is_last = last is not None and (last.updated_at, last.digest) == (version["updated_at"], version["digest"])
            if is_new and is_last:
                await settle(connection, version["prelabel_id"])
            standing = await _standing(connection, version["key"]) if is_last else "outdated"
            return Recorded(standing=standing, is_new=is_new)

    async def withdraw(self, key: str, *, updated_at: datetime | None = None) -> bool:
        """Let an answer no longer count: its annotation was deleted, or skipped instead. An answered task waits again.

        Args:
            updated_at: by the platform's clock; versions that are newer still count. None for good, whatever comes.

        Returns:
            Whether there was an answer that stood.

        Raises:
            InvalidRequestError: the key or the moment is out of range.
        """
        moment = None if updated_at is None else _moment("updated_at", updated_at)
        version = {"key": short("key", key), "updated_at": moment, "is_withdrawn": True, "digest": ""}
        async with database.transaction(self._engine) as connection:
            await hold_key(connection, version["key"])
            before = await last_version(connection, version["key"])
            await add_version(connection, version)
            after = await last_version(connection, version["key"])
            if before is None or before.prelabel_id is None or before.is_withdrawn or after == before:
                return False
            await settle(connection, before.prelabel_id)
            return True

    async def known(self, keys: Collection[str]) -> dict[str, Known]:
        """What is known of these answers, by key."""
        async with database.reading(self._engine) as connection:
            return await _by_key(connection, await last_versions(connection, [storable(key) for key in keys]))

    async def count(self, prefix: str) -> int:
        """How many answers stand whose keys begin so."""
        async with database.reading(self._engine) as connection:
            return await count_standing(connection, storable(prefix))

    async def known_of(self, run_id: str, item_ids: Collection[str], *, task: Task) -> dict[str, Known]:
        """What is known of all answers about these items of a run, by key, withdrawn ones among them."""
        ids = cast([rows.item_id(item_id) for item_id in item_ids], ARRAY(Text))
        these = select(prelabels.c.id).where(
            prelabels.c.run_id == storable(run_id), prelabels.c.item_id == any_(ids), prelabels.c.task == task
        )
        async with database.reading(self._engine) as connection:
            found = (await connection.execute(these)).scalars().all()
            return await _by_key(connection, await last_versions_of(connection, found))


def _row(answer: PlatformAnswer) -> dict[str, Any]:
    said = {
        "created_at": _moment("created_at", answer.created_at),
        "reviewer": short("reviewer", answer.reviewer),
        "annotations": stored_annotations(answer.annotations),
        "seconds": seconds_of(answer.seconds),
        "was_shown": answer.was_shown,
    }
    written = json.dumps(said | {"created_at": said["created_at"].timestamp()}, sort_keys=True)
    return said | {
        "key": short("key", answer.key),
        "updated_at": _moment("updated_at", answer.updated_at),
        "is_withdrawn": False,
        "digest": hashlib.sha256(written.encode()).hexdigest(),
    }


def _moment(name: str, given: datetime) -> datetime:
    if given.tzinfo is None:
        raise InvalidRequestError("invalid_argument", f"{name} must say its time zone; got {given.isoformat()}")
    return given


async def _prelabel_id(connection: AsyncConnection, answer: PlatformAnswer) -> int:
    this = select(prelabels.c.id).where(
        prelabels.c.run_id == storable(answer.run_id),
        prelabels.c.item_id == rows.item_id(answer.item_id),
        prelabels.c.task == answer.task,
    )
    found = (await connection.execute(this)).scalar()
    if found is None:
        message = f"no pre-label of item '{answer.item_id}' for {answer.task} in run '{answer.run_id}'"
        raise NotFoundError(message=f"{message}; answer what prelabel has labelled")
    return found


async def _standing(connection: AsyncConnection, key: str) -> Standing:
    """Of the last version of an answer that is not withdrawn."""
    counting = (
        select(review_tasks.c.stream)
        .select_from(
            platform_answers.join(reviews, reviews.c.platform_answer_id == platform_answers.c.id).join(
                review_tasks, review_tasks.c.id == reviews.c.task_id
            )
        )
        .where(platform_answers.c.key == key, counts)
    )
    stream = (await connection.execute(counting)).scalar()
    if stream is None:
        return "beside"
    return "volunteered" if stream == VOLUNTEERED else "asked"


def _key_reused(answer: PlatformAnswer) -> ConflictError:
    return ConflictError(
        "key_reused",
        f"answer '{answer.key}' is about another pre-label than that of item '{answer.item_id}' in run "
        f"'{answer.run_id}'; an annotation answers the pre-label that it was made from, under a key of its own",
    )


async def _by_key(connection: AsyncConnection, versions: Sequence[AnswerVersion]) -> dict[str, Known]:
    about = await named_prelabels(connection, [one.key for one in versions])
    known = dict[str, Known]()
    for one in versions:
        run_id, item_id = about.get(one.key, (None, None))
        known[one.key] = Known(
            run_id=run_id,
            item_id=item_id,
            updated_at=one.updated_at,
            is_withdrawn=one.is_withdrawn,
            digest=one.digest,
        )
    return known
