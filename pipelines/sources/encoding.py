"""Names how a manifest's rows are written in a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

from models.errors import ConfigError

Record = Mapping[str, Any]  # a row by its columns; None for an empty cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row, or what is wrong with it; ``place`` says where it is: "line 7"."""

    place: str
    record: Record | None = None
    fault: str = ""


class Encoding(Protocol):
    """What a module offers to read a kind of manifest."""

    def names(self, file: BinaryIO) -> list[str] | None:
        """The columns' names; None where each row has its own.

        Raises:
            ConfigError: the file is of another kind.
        """
        ...

    def rows(self, file: BinaryIO) -> Iterator[Row]:
        """The rows in their order, blank ones passed over, from a file that stands at its beginning.

        Raises:
            ConfigError: the file is of another kind.
        """
        ...


def checked(names: list[str]) -> list[str]:
    """The names of the columns.

    Raises:
        ConfigError: some are equal.
    """
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"the manifest has several columns '{twice[0][:60]}'; rename all but one")
    return names
