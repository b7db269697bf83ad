"""Names what lists the items of a drop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from models.types import Item
from pipelines.types import Failed


class Source(Protocol):
    name: str

    def identity(self) -> dict[str, str]: ...

    def entries(self) -> Iterator[Item | Failed]: ...
