"""Opens texts that the store knows by their address alone, so that a project can show them."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from types import TracebackType
from typing import Self

from models.errors import ConfigError
from pipelines.fetch import Fetcher, FetchPolicy
from pipelines.formats.results import result
from pipelines.formats.stored import text_of
from pipelines.store.values import Run
from pipelines.types import Labelled
from serving.drops.orders import Order


class Texts:
    """The texts of runs. Who has named a run's drop at the command line may read what is in it."""

    def __init__(self, policy: FetchPolicy) -> None:
        self._policy = policy
        self._fetchers = dict[str, Fetcher]()
        self._closing = AsyncExitStack()

    async def opened(self, labelled: Labelled, run: Run) -> Labelled | None:
        """An item with its text in place of its address; None where that is gone, or another one by now."""
        item = labelled.item
        if item.media != "text" or item.text is not None:
            return labelled
        text = await text_of(item, result(labelled), await self._fetcher(run))
        return None if text is None else replace(labelled, item=replace(item, uri=None, text=text))

    async def _fetcher(self, run: Run) -> Fetcher:
        if run.id not in self._fetchers:
            policy = self._policy
            with suppress(ConfigError):  # a run of calls has no drop
                policy = Order.of(run).opened(policy)
            self._fetchers[run.id] = fetcher = Fetcher(policy)
            self._closing.push_async_callback(fetcher.aclose)
        return self._fetchers[run.id]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._closing.aclose()
