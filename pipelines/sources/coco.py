"""Lists the images of a COCO file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from models.errors import ConfigError
from models.types import MEDIA_OF_TASK, Item, Task
from pipelines.sources import json_array
from pipelines.sources.entry import EntryError, as_object, checked_uri, plain
from pipelines.sources.json_array import DamagedJsonError
from pipelines.sources.single_file import SingleFile
from pipelines.sources.source import failed
from pipelines.types import Failed

_NAMES = ("file_name", "coco_url", "flickr_url")


class Coco:
    """The entries of ``images`` in their order; an item's id is its ``file_name``.

    Where there is none, ``coco_url`` or ``flickr_url`` says where the image is, and the id is "image 397133" with its
    COCO id. All plain fields but the file's name are meta, ``id`` as ``coco_id``. What is annotated is left out. Ids
    can repeat.
    """

    def __init__(self, file: SingleFile, task: Task, *, base: str | None = None) -> None:
        """
        Args:
            file: the COCO file.
            task: what the items are for.
            base: the folder or address of the images; by default the file's folder.

        Raises:
            ConfigError: the file is not there, or the task is not about images.
        """
        if MEDIA_OF_TASK[task] != "image":
            raise ConfigError(f"got a COCO file, which lists images, for {task}; wanted another kind of drop")
        self._file = file
        self._task: Task = task
        self._base = base
        self.name = file.name

    def identity(self) -> dict[str, str]:
        return {"kind": "coco", **self._file.identity(), "base": self._base or ""}

    def entries(self) -> Iterator[Item | Failed]:
        with self._file.open() as opened:
            try:
                for place, element in enumerate(json_array.elements(opened, "images"), start=1):
                    yield self._entry(f"images[{place - 1}]", element)
            except DamagedJsonError as err:
                message = f"the file is damaged: {err}; what follows is not listed: write it anew"
                yield failed(f"{self.name} from byte {err.offset}", self._task, "invalid_entry", message)

    def _entry(self, place: str, element: bytes | None) -> Item | Failed:
        try:
            record = as_object(element)
            name = _name_of(record)
            uri = checked_uri(name, record[name])
        except EntryError as err:
            return failed(place, self._task, "invalid_entry", str(err))
        meta = plain(record, but="file_name")
        if "id" in meta:
            meta["coco_id"] = meta.pop("id")
        is_file = name == "file_name"
        return Item(
            id=uri if is_file else f"image {meta['coco_id']}" if "coco_id" in meta else place,
            media="image",
            uri=self._file.absolute(uri, self._base) if is_file else uri,
            meta=meta,
        )


def _name_of(record: dict[str, Any]) -> str:
    for name in _NAMES:
        if record.get(name) not in (None, ""):
            return name
    raise EntryError(f"the image has none of {', '.join(_NAMES)}; give it a file_name")
