"""Tells by a name's suffix which files a task can label."""

from __future__ import annotations

from models.types import MEDIA_OF_TASK, Media, Task

SUFFIXES: dict[Media, frozenset[str]] = {
    "image": frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"}),
    "audio": frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".mp4", ".webm"}),
    "text": frozenset({".txt", ".md"}),
}


def suffix_of(name: str) -> str:
    """The last dot of a file's name and what follows, in lower case; nothing for a name without a dot."""
    stem, dot, suffix = name.rpartition(".")
    return f".{suffix.lower()}" if dot and stem else ""


def fits(name: str, task: Task) -> bool:
    """Whether a file of this name is of the task's media."""
    return suffix_of(name) in SUFFIXES[MEDIA_OF_TASK[task]]
