"""Reads local files, only from under the configured folders."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote_from_bytes, unquote_to_bytes

import httpx

from models.errors import ItemError
from pipelines.fetch.policy import FetchPolicy
from pipelines.fetch.url import blocked

# Not following the last link closes the gap between check and open; not blocking keeps a FIFO from holding the thread.
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def read(uri: str, policy: FetchPolicy) -> bytes:
    """Read the file at a path or file: URI. A relative path is looked for under each root in turn.

    Raises:
        ItemError: blocked_url (not under a root, whether it exists or not), not_found, too_large, changed (it became
            another one while it was read), fetch_failed.
    """
    with _opened(uri, policy) as (file, size):
        data = file.read(policy.max_bytes + 1) if size <= policy.max_bytes else b""
        if max(size, len(data)) > policy.max_bytes:
            raise ItemError("too_large", f"{_shown(uri)} has more than {policy.max_bytes} bytes (fetch.max_bytes)")
        if len(data) != size:
            raise _changed(uri)
        return data


def read_part(uri: str, start: int, end: int, policy: FetchPolicy) -> bytes:
    """Read a range of bytes of a file; less where the file ends before.

    Raises:
        ItemError: blocked_url, not_found, changed, fetch_failed.
    """
    with _opened(uri, policy) as (file, _):
        file.seek(start)
        return file.read(end - start)


def open_file(uri: str, policy: FetchPolicy) -> BinaryIO:
    """Open the file at a path or file: URI, whatever its size.

    Raises:
        ItemError: blocked_url, not_found, fetch_failed.
    """
    with _named(uri):
        return _open(_resolve(path_of(uri), policy))


def check(uri: str, policy: FetchPolicy) -> None:
    """See whether a path may be opened, and nothing else about it.

    Raises:
        ItemError: blocked_url (not under a root, whether it exists or not); not_found, of a path that cannot be.
    """
    with _named(uri):
        _resolve(path_of(uri), policy)


def find(uri: str, policy: FetchPolicy) -> Path:
    """The real path of a file or folder that may be opened.

    Raises:
        ItemError: blocked_url, not_found.
    """
    with _named(uri):
        return _resolve(path_of(uri), policy).resolve(strict=True)


def path_of(uri: str) -> Path:
    """The path that a path or file: URI names.

    Raises:
        ItemError: blocked_url.
    """
    if uri[:5].lower() != "file:":
        return Path(uri)
    try:
        url = httpx.URL(uri)
    except (httpx.InvalidURL, ValueError) as err:
        raise blocked("a file: URI that cannot be parsed", "file:///folder/name") from err
    if url.host not in ("", "localhost") or url.query or url.fragment:
        raise blocked("a file: URI with a host, query or fragment", "file:///folder/name")
    return Path(os.fsdecode(unquote_to_bytes(url.raw_path)))


def uri_of(path: str) -> str:
    """What names an absolute path to the fetcher: the path, or a file: URI where it is no UTF-8.

    Databases and JSON hold UTF-8 only.
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        return "file://" + quote_from_bytes(os.fsencode(path))
    return path


@contextmanager
def _named(uri: str) -> Iterator[None]:
    """Gives what the operating system says the name of an item's error."""
    try:
        yield
    except FileNotFoundError as err:
        raise ItemError("not_found", f"no file {_shown(uri)} under fetch.roots; check its name") from err
    except (OSError, ValueError, RuntimeError) as err:  # RuntimeError: pathlib, of a loop of links
        if isinstance(err, OSError) and err.errno in (errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP):
            raise ItemError("not_found", f"no file {_shown(uri)} under fetch.roots; check its name") from err
        raise ItemError("fetch_failed", f"cannot read the file {_shown(uri)}; check its name and permissions") from err


def _resolve(path: Path, policy: FetchPolicy) -> Path:
    """The real path, links followed, if it lies under a root."""
    if not policy.roots:
        raise blocked("a local file", "another source; add its folder to fetch.roots to open it")
    found = None
    for root in (root.resolve() for root in policy.roots):
        candidate = (root / path).resolve()
        if candidate.is_relative_to(root):
            found = candidate
            if candidate.exists():
                break
    if found is None:
        raise blocked("a file outside fetch.roots", "one inside; add its folder to fetch.roots to open it")
    return found


@contextmanager
def _opened(uri: str, policy: FetchPolicy) -> Iterator[tuple[BinaryIO, int]]:
    """A file and its size; at the end it must still be the one that was opened."""
    with _named(uri):
        path = _resolve(path_of(uri), policy)
        with _open(path) as file:
            before = os.fstat(file.fileno())
            yield file, before.st_size
            # Asked while the file is still open: once closed, its inode's number may be given to what replaced it.
            if _version(path) != _version_of(before):
                raise _changed(uri)


def _open(path: Path) -> BinaryIO:
    number = os.open(path, _FLAGS)
    if stat.S_ISREG(os.fstat(number).st_mode):
        return os.fdopen(number, "rb")
    os.close(number)
    raise ItemError("fetch_failed", f"{_shown(path.name)} is a folder or a device; wanted a file")


def _changed(uri: str) -> ItemError:
    return ItemError("changed", f"{_shown(uri)} changed while it was read; try again when it is complete")


def _version(path: Path) -> tuple[int, ...] | None:
    """What tells a file from another one at the same path; None where there is none any more."""
    try:
        return _version_of(path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return None


def _version_of(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _shown(uri: str) -> str:
    return repr(uri.partition("?")[0][-120:])
