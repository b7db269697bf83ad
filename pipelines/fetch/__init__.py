"""Opens what a user's URI points at: the only code that does."""

from __future__ import annotations

from pipelines.fetch.credentials import Confines, Credentials, Renews, origin
from pipelines.fetch.fetcher import Fetcher
from pipelines.fetch.network import Resolver
from pipelines.fetch.policy import FetchPolicy

__all__ = ["Confines", "Credentials", "FetchPolicy", "Fetcher", "Renews", "Resolver", "origin"]
