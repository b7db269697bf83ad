"""Lists the objects below a prefix of a bucket."""

from __future__ import annotations

from collections.abc import Iterator

from models.errors import ConfigError, ItemError
from models.types import MEDIA_OF_TASK, Item, Task
from pipelines.fetch import buckets
from pipelines.fetch.policy import FetchPolicy
from pipelines.sources.suffixes import fits


class Bucket:
    """The objects of a task's media below a prefix, in the order of their keys; an item's id is the rest of its key.

    What begins with a dot or stands below such a "folder" is passed over, as are the markers of folders. Of S3 a page
    of keys is in memory at a time; of other stores all keys are.
    """

    def __init__(
        self,
        location: str,
        task: Task,
        policy: FetchPolicy,
        *,
        open_filesystem: buckets.OpenFilesystem = buckets.open_filesystem,
    ) -> None:
        """
        Args:
            location: ``scheme://bucket/prefix``; a prefix ends where a "folder" does.
            task: what the items are for.
            policy: which prefixes may be opened.
            open_filesystem: gives the fsspec filesystem of the scheme.

        Raises:
            ConfigError: the prefix may not be opened, or there is nothing below it.
        """
        self._location = location.rstrip("/")
        self._task: Task = task
        self._policy = policy
        self._open_filesystem = open_filesystem
        self.name = self._location.rpartition("/")[2]
        if next(self._keys(), None) is None:
            raise ConfigError(f"no objects below {self._location}/; give the prefix that holds the drop")

    def identity(self) -> dict[str, str]:
        return {"kind": "bucket", "location": self._location, "media": MEDIA_OF_TASK[self._task]}

    def entries(self) -> Iterator[Item]:
        media = MEDIA_OF_TASK[self._task]
        for key in self._keys():
            is_hidden = any(part.startswith(".") for part in key.split("/"))
            if fits(key.rpartition("/")[2], self._task) and not is_hidden:
                yield Item(id=key, media=media, uri=f"{self._location}/{key}")

    def _keys(self) -> Iterator[str]:
        try:
            yield from buckets.list_keys(self._location, self._policy, self._open_filesystem)
        except ItemError as err:
            raise ConfigError(f"the drop cannot be listed: {err.message}", code=err.code) from err
