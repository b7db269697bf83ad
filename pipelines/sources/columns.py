"""Tells which columns of a row say what to label, and turns the row into an item."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from models.errors import ConfigError
from models.types import Media
from pipelines.sources.encoding import Record
from pipelines.sources.entry import EntryError, as_text, checked_id, checked_string, checked_uri

Role = Literal["uri", "text"]

_URI_ALIASES = ("url", "path", "file", "file_name", "filename")
_ALIASES: dict[Media, dict[str, Role]] = {
    "image": dict.fromkeys((*_URI_ALIASES, "image"), "uri"),
    "audio": dict.fromkeys((*_URI_ALIASES, "audio", "audio_filepath"), "uri"),
    "text": {**dict.fromkeys(_URI_ALIASES, "uri"), "sentence": "text"},
}
_USUAL: dict[Media, dict[str, Role]] = {
    "image": {"uri": "uri"},
    "audio": {"uri": "uri"},
    "text": {"uri": "uri", "text": "text"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The names of the columns that hold an item's id, its URI and its text, where they are not the usual ones."""

    id: str | None = None
    uri: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a row says: an id, if it has one, a URI or a text, and the other columns as strings."""

    id: str | None
    uri: str | None
    text: str | None
    meta: dict[str, str]


class RowReader:
    """Reads rows.

    A text counts as content only where texts are labelled: elsewhere it describes the image or the recording, as in
    captions and transcripts, and is meta like all other columns. ``uri`` and ``text`` go before their aliases
    (``path``, ``sentence`` …), which are looked at where neither of them is.
    """

    def __init__(self, columns: Columns, media: Media) -> None:
        """
        Raises:
            ConfigError: a column for texts is named although the media is another.
        """
        if columns.text is not None and media != "text":
            raise ConfigError(f"got the column '{columns.text}' for texts; wanted one for URIs to label {media}")
        self._id = columns.id or "id"
        self._must_have_id = columns.id is not None
        named: dict[str, Role] = {}
        if columns.uri is not None:
            named[columns.uri] = "uri"
        if columns.text is not None:
            named[columns.text] = "text"
        self._choices = [named] if named else [_USUAL[media], _ALIASES[media]]

    @property
    def wanted(self) -> str:
        """What there has to be one of, for a message."""
        return " or ".join(f"'{name}'" for name in self._choices[0])

    def check(self, names: Collection[str]) -> None:
        """
        Raises:
            ConfigError: no row with these columns can say what to label.
        """
        missing = self._must_have_id and self._id not in names
        if missing or not any(name in names for choice in self._choices for name in choice):
            got = ", ".join(sorted(names))[:200] or "none"
            wanted = f"'{self._id}'" if missing else self.wanted
            raise ConfigError(f"the manifest has the columns {got}; wanted {wanted}: rename one, or say which it is")

    def read(self, record: Record) -> Entry:
        """
        Raises:
            EntryError: the row does not say what to label.
        """
        name, role = self._content(record)
        used = (name, self._id)
        content = checked_uri(name, record[name]) if role == "uri" else checked_string(name, record[name])
        entry_id = checked_id(self._id, record.get(self._id))
        if entry_id is None and self._must_have_id:
            raise EntryError(f"the entry has no '{self._id}'; give it one")
        return Entry(
            id=entry_id,
            uri=content if role == "uri" else None,
            text=content if role == "text" else None,
            meta={key: as_text(value) for key, value in record.items() if value is not None and key not in used},
        )

    def _content(self, record: Record) -> tuple[str, Role]:
        """The column that says what to label: the only one that is filled, or else a text that is there and empty."""
        for choice in self._choices:
            filled: list[tuple[str, Role]] = [
                (name, role) for name, role in choice.items() if record.get(name) not in (None, "")
            ]
            if len(filled) > 1:
                got = " and ".join(f"'{name}'" for name, _ in filled)
                raise EntryError(f"the entry has {got}, wanted exactly one of them; leave out the others")
            if filled:
                return filled[0]
        for name in (name for choice in self._choices for name, role in choice.items() if role == "text"):
            if record.get(name) is not None:
                return name, "text"
        raise EntryError(f"the entry has no {self.wanted}; give it one")
