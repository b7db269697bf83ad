"""Lists the tasks of a Label Studio export."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from models.types import MEDIA_OF_TASK, Item, Media, Task
from pipelines.sources import json_array
from pipelines.sources.columns import Columns
from pipelines.sources.entry import EntryError, as_object, checked_id, checked_uri, plain
from pipelines.sources.json_array import DamagedJsonError
from pipelines.sources.single_file import SingleFile, is_path
from pipelines.sources.source import failed
from pipelines.sources.suffixes import fits
from pipelines.types import Failed

_ON_SERVER = "/data/"
_USUAL: dict[Media, tuple[str, ...]] = {
    "image": ("image", "url"),
    "audio": ("audio", "url"),
    "text": ("text", "sentence"),
}


class LabelStudio:
    """The tasks of an export, a JSON list of objects with ``id`` and ``data``, in their order, by their ids.

    What a task's annotators said is left out. The other plain fields of ``data`` are meta, as are ``inner_id`` and
    ``project``. A task without an id is named by its place: "task 7". Ids can repeat.
    """

    def __init__(self, file: SingleFile, task: Task, *, columns: Columns = Columns(), base: str | None = None) -> None:
        """
        Args:
            file: the export.
            task: what the items are for.
            columns: which field of ``data`` holds the URI or the text, where several could.
            base: the address of the Label Studio server, which ``/data/upload/…`` is a path on.

        Raises:
            ConfigError: the export is not there.
        """
        self._file = file
        self._task: Task = task
        self._media: Media = MEDIA_OF_TASK[task]
        self._field = columns.uri or columns.text
        self._base = base
        self.name = file.name

    def identity(self) -> dict[str, str]:
        settings = {"field": self._field or "", "base": self._base or "", "media": self._media}
        return {"kind": "label_studio", **self._file.identity(), **settings}

    def entries(self) -> Iterator[Item | Failed]:
        with self._file.open() as opened:
            place = 0
            try:
                for place, element in enumerate(json_array.elements(opened), start=1):
                    yield self._entry(f"task {place}", element)
            except DamagedJsonError as err:
                message = f"the export is damaged: {err}; what follows is not listed: export it anew"
                yield failed(f"{self.name} from byte {err.offset}", self._task, "invalid_entry", message)

    def _entry(self, place: str, element: bytes | None) -> Item | Failed:
        name = place
        try:
            record = as_object(element)
            name = checked_id("id", record.get("id")) or place
            data = record.get("data")
            if not isinstance(data, dict):
                raise EntryError("the task has no 'data', wanted an object in it")
            field = self._field_of(data)
            uri, text = self._content(data[field])
        except EntryError as err:
            return failed(name, self._task, "invalid_entry", str(err))
        meta = plain(data, but=field) | plain({key: record.get(key) for key in ("inner_id", "project")})
        return Item(id=name, media=self._media, uri=uri, text=text, meta=meta)

    def _field_of(self, data: Mapping[str, Any]) -> str:
        """The field that says what to label: the named one, else the only one that looks like it."""
        if self._field is not None:
            if not isinstance(data.get(self._field), str):
                raise EntryError(f"the task's data has no text or URI under '{self._field}'")
            return self._field
        strings = [name for name, value in data.items() if isinstance(value, str)]
        usual = [name for name in strings if name in _USUAL[self._media]]
        alike = strings if self._media == "text" else [name for name in strings if self._is_uri(data[name])]
        for found in (alike, [name for name in alike if name in usual], usual):
            if len(found) == 1:
                return found[0]
        got = ", ".join(f"'{name[:60]}'" for name in data)[:200] or "nothing"
        raise EntryError(f"the task's data has {got}, wanted one field with {self._media}; name the one to label")

    def _is_uri(self, value: str) -> bool:
        """Whether a string looks like the address of a file of the task's media."""
        path = value.partition("?d=")[2] or value.partition("?")[0]
        return value.startswith(f"data:{self._media}/") or fits(path.rpartition("/")[2], self._task)

    def _content(self, value: str) -> tuple[str | None, str | None]:
        """The URI or the text."""
        if self._media == "text" and not (self._is_uri(value) and len(value.split()) == 1):
            return None, value
        uri = checked_uri("data", value)
        if not uri.startswith(_ON_SERVER):
            return self._file.absolute(uri), None
        if self._base is None or is_path(self._base):
            raise EntryError(f"'{uri[:100]}' is a path on the Label Studio server; say at which address that is")
        return f"{self._base.rstrip('/')}{uri}", None
