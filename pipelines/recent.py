"""Finds what a run has said of a content already, so that equal items of a drop are computed once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping

from pipelines.errors import StoreUnavailableError
from pipelines.types import PreLabel

_MOST_RECENT = 1_024  # pre-labels: more than are on their way to the store at a time

FindStored = Callable[[Collection[str]], Awaitable[Mapping[str, PreLabel]]]


class Recent:
    """A run's pre-labels by the digest of their content: the last ones in memory, all of them in the store.

    Digests that are asked for while a query runs share the next query. A store that does not answer knows nothing.
    """

    def __init__(self, find_stored: FindStored) -> None:
        self._find_stored = find_stored
        self._recent = OrderedDict[str, PreLabel]()
        self._wanted = dict[str, asyncio.Future[PreLabel | None]]()
        self._asking: asyncio.Task[None] | None = None

    def add(self, pre_label: PreLabel) -> None:
        """Remember what is about to be stored."""
        self._recent[pre_label.provenance.item_digest] = pre_label
        if len(self._recent) > _MOST_RECENT:
            self._recent.popitem(last=False)

    async def find(self, digest: str) -> PreLabel | None:
        """What the run has said of this content; None if it has said nothing yet."""
        if (known := self._recent.get(digest)) is None:
            known = await self._stored(digest)
        return known or self._recent.get(digest)  # somebody may have added it meanwhile

    async def _stored(self, digest: str) -> PreLabel | None:
        answer = self._wanted.setdefault(digest, asyncio.get_running_loop().create_future())
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(answer)

    async def _ask(self) -> None:
        while self._wanted:
            asked, self._wanted = self._wanted, {}
            try:
                found = await self._find_stored(asked.keys())
            except StoreUnavailableError:
                found = {}
            except Exception as err:
                for answer in asked.values():
                    answer.set_exception(err)
                continue
            for digest, answer in asked.items():
                answer.set_result(found.get(digest))
