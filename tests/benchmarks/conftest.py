"""Gives tests of the load generators a server to send to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.benchmarks.site import Site, answering


@pytest.fixture
def site() -> Iterator[Site]:
    with answering() as server:
        yield server
