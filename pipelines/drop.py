"""Lists the items of a drop: the files of a folder that a task can label."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from models.errors import ConfigError
from models.types import MEDIA_OF_TASK, Item, Media, Task

SUFFIXES: dict[Media, frozenset[str]] = {
    "image": frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"}),
    "audio": frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".mp4", ".webm"}),
    "text": frozenset({".txt", ".md"}),
}


def items(folder: Path, task: Task) -> Iterator[Item]:
    """The folder's files of the task's media, in the order of their paths; an item's id is its relative path.

    Hidden files and folders are passed over.

    Raises:
        ConfigError: there is no such folder.
    """
    if not folder.is_dir():
        raise ConfigError(f"no folder at {folder}; give the folder that holds the drop")
    media = MEDIA_OF_TASK[task]
    root = folder.resolve()
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        is_hidden = any(part.startswith(".") for part in name.parts)
        if path.suffix.lower() in SUFFIXES[media] and not is_hidden and path.is_file():
            yield Item(id=name.as_posix(), media=media, uri=str(path))
