"""Lists the files of a folder, all of them or those that a pattern names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from models.errors import ConfigError
from models.types import MEDIA_OF_TASK, Item, Media, Task
from pipelines.fetch.files import uri_of
from pipelines.sources.pattern import Pattern, Progress
from pipelines.sources.source import failed
from pipelines.sources.suffixes import fits
from pipelines.types import Failed

EVERYTHING = Pattern("**")


class Folder:
    """The files of a task's media below a folder, in the order of their paths; an item's id is its relative path.

    Hidden files and folders are passed over. Links are followed within the folder only; below a linked folder, further
    links to folders are passed over, for what they lead to is listed elsewhere. The names of one folder are in memory
    at a time (of a million files in one folder about 100 MB), never those of the whole tree.
    """

    def __init__(self, root: Path, task: Task, *, pattern: Pattern = EVERYTHING) -> None:
        """
        Args:
            root: the folder; links on the way to it are followed.
            task: what the items are for.
            pattern: which paths below the folder are listed.

        Raises:
            ConfigError: there is no such folder.
        """
        if not root.is_dir():
            raise ConfigError(f"no folder at {root}; give the folder that holds the drop")
        self._root = os.path.realpath(root)
        self._task: Task = task
        self._media: Media = MEDIA_OF_TASK[task]
        self._pattern = pattern
        self.name = root.name or self._root

    def identity(self) -> dict[str, str]:
        return {"kind": "folder", "location": self._root, "pattern": str(self._pattern), "media": self._media}

    def entries(self) -> Iterator[Item | Failed]:
        way: list[_Level] = []
        yield from self._enter(way, _Level(path=self._root, prefix="", progress=self._pattern.start()))
        while way:
            level = way[-1]
            if not level.names:
                way.pop()
                continue
            name = level.names.pop()
            match level.kinds.get(name):
                case None:
                    if level.progress.then(name).is_done:
                        yield self._item(level, name)
                case "folder":
                    yield from self._enter(way, level.below(name))
                case "link":
                    yield from self._follow(way, level, name)

    def _enter(self, way: list[_Level], level: _Level) -> Iterator[Failed]:
        """Read a folder's names and go on there."""
        if not level.progress.is_possible:
            return
        try:
            level.read(self._task)
        except OSError as err:
            if not level.prefix:
                raise ConfigError(f"the folder {level.path} cannot be listed ({err.strerror}); is it there?") from err
            yield failed(
                level.prefix.rstrip("/"),
                self._task,
                "unreadable_folder",
                f"the folder cannot be listed ({err.strerror}); check its permissions and the length of its path",
            )
        else:
            way.append(level)

    def _follow(self, way: list[_Level], level: _Level, name: str) -> Iterator[Item | Failed]:
        path = f"{level.path}/{name}"
        target = Path(os.path.realpath(path))
        is_file = fits(name, self._task) and level.progress.then(name).is_done
        below = level.below(name, is_linked=True)
        if not target.is_relative_to(self._root):
            if is_file or below.progress.is_possible:
                message = "the link leads out of the drop; copy what it leads to, or give that as a drop of its own"
                yield failed(level.prefix + name, self._task, "blocked_url", message)
        elif target.is_dir():
            if not level.is_linked and not Path(os.path.realpath(level.path)).is_relative_to(target):
                yield from self._enter(way, below)
        elif is_file and target.is_file():
            yield self._item(level, name)
        elif is_file and not target.exists():
            yield failed(level.prefix + name, self._task, "not_found", "the link leads nowhere; restore the file")

    def _item(self, level: _Level, name: str) -> Item:
        return Item(id=level.prefix + name, media=self._media, uri=uri_of(f"{level.path}/{name}"))


def items_of(folder: Path, task: Task) -> Iterator[Item]:
    """The files of a folder that can be labelled, without what is bad about the others.

    Raises:
        ConfigError: there is no such folder.
    """
    for entry in Folder(folder, task).entries():
        if isinstance(entry, Item):
            yield entry


@dataclass(slots=True, kw_only=True)
class _Level:
    """A folder on the way to where the listing is.

    ``prefix`` begins the ids of what is in it. ``names`` are those still to come, the next one last; ``kinds`` says
    which of them are no files.
    """

    path: str
    prefix: str
    progress: Progress
    is_linked: bool = False
    names: list[str] = field(default_factory=list)
    kinds: dict[str, Literal["folder", "link"]] = field(default_factory=dict)

    def read(self, task: Task) -> None:
        with os.scandir(self.path) as found:
            for entry in found:
                if entry.name.startswith("."):
                    continue
                if entry.is_symlink():
                    self.kinds[entry.name] = "link"
                elif entry.is_dir():
                    self.kinds[entry.name] = "folder"
                elif not fits(entry.name, task) or not entry.is_file():
                    continue
                self.names.append(entry.name)
        self.names.sort(reverse=True)

    def below(self, name: str, *, is_linked: bool = False) -> _Level:
        return _Level(
            path=f"{self.path}/{name}",
            prefix=f"{self.prefix}{name}/",
            progress=self.progress.then(name),
            is_linked=self.is_linked or is_linked,
        )
