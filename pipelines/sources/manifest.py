"""Lists the items that a manifest names: a row for each, with a URI or a text, and columns that describe it."""

from __future__ import annotations

import json
from collections.abc import Iterator

from models.types import MEDIA_OF_TASK, Item, Task
from pipelines.fetch.fetcher import scheme_of
from pipelines.sources import comma_separated, json_lines, parquet, tab_separated
from pipelines.sources.columns import Columns, Entry, RowReader
from pipelines.sources.encoding import Encoding, Row
from pipelines.sources.entry import EntryError
from pipelines.sources.single_file import SingleFile
from pipelines.sources.source import failed
from pipelines.types import Failed

ENCODINGS: dict[str, Encoding] = {
    ".jsonl": json_lines,
    ".ndjson": json_lines,
    ".csv": comma_separated,
    ".tsv": tab_separated,
    ".parquet": parquet,
}


class Manifest:
    """The rows of a manifest in their order.

    An item's id is what its row says, else the URI as it is seen from the manifest's folder, else "line 7" ("row 7" in
    Parquet), which also names the bad ones. A web address with a query, which may hold secrets, is never an id.
    Relative URIs are relative to the manifest's folder. Ids can repeat.
    """

    def __init__(
        self, file: SingleFile, task: Task, *, encoding: Encoding, columns: Columns = Columns(), base: str | None = None
    ) -> None:
        """
        Args:
            file: the manifest.
            task: what the items are for.
            encoding: how it is written.
            columns: the names of the columns, where they are not the usual ones.
            base: the folder or address that relative URIs are relative to, instead of the manifest's folder.

        Raises:
            ConfigError: the manifest is not there, is of another kind, or has no column that says what to label.
        """
        self._file = file
        self._task: Task = task
        self._encoding = encoding
        self._columns = columns
        self._reader = RowReader(columns, MEDIA_OF_TASK[task])
        self._base = base
        self.name = file.name
        with file.open() as opened:
            names = encoding.names(opened)
        if names is not None:
            self._reader.check(names)

    def identity(self) -> dict[str, str]:
        return {
            "kind": "manifest",
            **self._file.identity(),
            "media": MEDIA_OF_TASK[self._task],
            "columns": json.dumps([self._columns.id, self._columns.uri, self._columns.text]),
            "base": self._base or "",
        }

    def entries(self) -> Iterator[Item | Failed]:
        with self._file.open() as opened:
            for row in self._encoding.rows(opened):
                yield self._entry(row)

    def _entry(self, row: Row) -> Item | Failed:
        if row.record is None:
            return failed(row.place, self._task, "invalid_entry", row.fault)
        try:
            entry = self._reader.read(row.record)
        except EntryError as err:
            return failed(row.place, self._task, "invalid_entry", str(err))
        return Item(
            id=entry.id or self._default_id(entry, row.place),
            media=MEDIA_OF_TASK[self._task],
            uri=None if entry.uri is None else self._file.absolute(entry.uri, self._base),
            text=entry.text,
            meta=entry.meta,
        )

    def _default_id(self, entry: Entry, place: str) -> str:
        if entry.uri is None:
            return place
        uri = entry.uri.removeprefix(self._file.folder + "/")
        match scheme_of(uri):
            case "data":
                return place
            case "http" | "https" if "?" in uri or "@" in uri:
                return place
            case _:
                return uri
