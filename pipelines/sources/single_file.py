"""Opens a drop that is one file or object, and sees to it that it stays as it was while it is listed."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from models.errors import ConfigError, ItemError
from pipelines.fetch import buckets, files
from pipelines.fetch.fetcher import scheme_of
from pipelines.fetch.policy import FetchPolicy

_ETAGS = ("ETag", "etag", "generation", "md5Hash", "LastModified", "last_modified", "updated", "mtime", "created")


class SingleFile:
    """A file or an object that lists items, such as a manifest or an archive.

    Attributes:
        location: its real path, or its ``scheme://bucket/key``.
        name: the last part of it.
        folder: what the relative URIs in it are relative to.
        is_local: whether it is a file.
    """

    def __init__(
        self,
        location: str,
        policy: FetchPolicy,
        *,
        open_filesystem: buckets.OpenFilesystem = buckets.open_filesystem,
    ) -> None:
        """
        Raises:
            ConfigError: it is not there or may not be opened.
        """
        self._policy = policy
        self._open_filesystem = open_filesystem
        self.is_local = scheme_of(location) not in buckets.SCHEMES
        with explained():
            self.location = os.fspath(files.find(location, policy)) if self.is_local else location
        self.name = self.location.rpartition("/")[2]
        self.folder = self.location.rpartition("/")[0]

    def identity(self) -> dict[str, str]:
        with explained():
            file, stamp = self._opened()
        file.close()
        return {"location": self.location, **stamp}

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """The file, from its beginning; it can be read anywhere.

        Raises:
            ConfigError: it cannot be opened or read, or was another one when all had been read.
        """
        with explained():
            file, before = self._opened()
            with file:
                yield file
            again, after = self._opened()
            again.close()
        if before != after:
            raise ConfigError(
                f"'{self.name}' changed while it was listed; list it again when nobody writes to it any more",
                code="changed",
            )

    def absolute(self, uri: str, base: str | None = None) -> str:
        """A URI as the fetcher opens it: a relative one is taken from the base, or from the file's folder."""
        if not is_relative(uri):
            return uri
        folder = self.folder if base is None else posixpath.join(self.folder, base) if is_path(base) else base
        scheme, separator, path = folder.partition("://")
        if scheme.lower() in buckets.SCHEMES and separator:
            bucket, _, prefix = path.partition("/")
            return f"{scheme}://{bucket}" + posixpath.normpath(f"/{prefix}/{uri}").replace("//", "/")
        return files.uri_of(posixpath.join(folder, uri.removeprefix("./")))

    def _opened(self) -> tuple[BinaryIO, dict[str, str]]:
        if not self.is_local:
            file, stated = buckets.open_object(self.location, self._policy, self._open_filesystem)
            return file, _stamp_of(stated)
        file = files.open_file(self.location, self._policy)
        status = os.fstat(file.fileno())
        return file, {"size": str(status.st_size), "mtime_ns": str(status.st_mtime_ns)}


def is_path(uri: str) -> bool:
    """Whether it is a path and has no scheme, not even file:."""
    return scheme_of(uri) == "file" and uri[:5].lower() != "file:"


def is_relative(uri: str) -> bool:
    return not uri.startswith("/") and is_path(uri)


def _stamp_of(stated: dict[str, Any]) -> dict[str, str]:
    tag = next((str(stated[name]) for name in _ETAGS if stated.get(name) is not None), "")
    return {"size": str(stated.get("size")), "etag": tag.strip('"')}


@contextmanager
def explained() -> Iterator[None]:
    """What goes wrong with the drop itself is a matter of what was asked for, not of one item."""
    try:
        yield
    except ItemError as err:
        raise ConfigError(f"the drop cannot be opened: {err.message}", code=err.code) from err
    except OSError as err:
        raise ConfigError(
            f"the drop could not be read to its end ({err.strerror or err}); list it again", code="fetch_failed"
        ) from err
