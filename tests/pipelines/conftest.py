"""Opens the store of a test's database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from pipelines.store.store import Store


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[Store]:
    async with Store.open(postgres_url) as opened:
        yield opened


@pytest.fixture
async def run_id(store: Store) -> str:
    return await store.start_run("a drop")
