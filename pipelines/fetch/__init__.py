"""Opens what a user's URI points at: the only code that does."""

from __future__ import annotations

from pipelines.fetch.fetcher import Fetcher
from pipelines.fetch.network import Resolver
from pipelines.fetch.policy import FetchPolicy

__all__ = ["FetchPolicy", "Fetcher", "Resolver"]
