"""Names what lists the items of a drop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from models.types import MEDIA_OF_TASK, Item, Task
from pipelines.types import Failed, Failure


class Source(Protocol):
    """A drop, wherever it is: a folder, a manifest, a bucket, an archive.

    A bad entry is a Failed among the others. What keeps a source from being listed to its end is a ConfigError, raised
    by ``entries`` where it happens, so that nobody takes a part for the whole.

    Attributes:
        name: for people: the folder's, the file's or the prefix's name.
    """

    name: str

    def identity(self) -> dict[str, str]:
        """The kind, the location, and all else that decides what is listed; of a single file its size and mtime_ns, of
        a single object its size and ETag.

        The same identity gives the same listing of a single file. A folder or a prefix may have other files by then.

        Raises:
            ConfigError: the source is not there any more.
        """
        ...

    def entries(self) -> Iterator[Item | Failed]:
        """The entries one by one, in the same order and with the same ids each time.

        Ids can repeat in a manifest, an export or an archive, which are written by others. They cannot in a folder or
        a bucket, where they are paths.

        Raises:
            ConfigError: the source broke or changed while it was listed.
        """
        ...


def failed(entry_id: str, task: Task, code: str, message: str) -> Failed:
    """A bad entry.

    Codes: invalid_entry (it cannot be read, or does not say what to label), and of links and folders blocked_url,
    not_found, unreadable_folder.
    """
    item = Item(id=entry_id, media=MEDIA_OF_TASK[task])
    return Failed(item=item, task=task, failure=Failure(code=code, message=message))
