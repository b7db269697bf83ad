"""Reads local files, only from under the configured folders."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import httpx

from models.errors import ItemError
from pipelines.fetch.policy import FetchPolicy
from pipelines.fetch.url import blocked

# Not following the last link closes the gap between check and open; not blocking keeps a FIFO from holding the thread.
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def read(uri: str, policy: FetchPolicy) -> bytes:
    """Read the file at a path or file: URI. A relative path is looked for under each root in turn.

    Raises:
        ItemError: blocked_url (not under a root, whether it exists or not), not_found, too_large, fetch_failed.
    """
    if not policy.roots:
        raise blocked("a local file", "another source; add its folder to fetch.roots to open it")
    try:
        path = _resolve(_path_of(uri), policy.roots)
        return _read(path, policy.max_bytes)
    except FileNotFoundError as err:
        raise ItemError("not_found", f"no file {_shown(uri)} under fetch.roots; check its name") from err
    except (OSError, ValueError, RuntimeError) as err:  # RuntimeError: pathlib, of a loop of links
        if isinstance(err, OSError) and err.errno in (errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP):
            raise ItemError("not_found", f"no file {_shown(uri)} under fetch.roots; check its name") from err
        raise ItemError("fetch_failed", f"cannot read the file {_shown(uri)}; check its name and permissions") from err


def _path_of(uri: str) -> Path:
    if uri[:5].lower() != "file:":
        return Path(uri)
    try:
        url = httpx.URL(uri)
    except (httpx.InvalidURL, ValueError) as err:
        raise blocked("a file: URI that cannot be parsed", "file:///folder/name") from err
    if url.host not in ("", "localhost") or url.query or url.fragment:
        raise blocked("a file: URI with a host, query or fragment", "file:///folder/name")
    return Path(url.path)


def _resolve(path: Path, roots: tuple[Path, ...]) -> Path:
    """The real path, links followed, if it lies under a root."""
    found = None
    for root in (root.resolve() for root in roots):
        candidate = (root / path).resolve()
        if candidate.is_relative_to(root):
            found = candidate
            if candidate.exists():
                break
    if found is None:
        raise blocked("a file outside fetch.roots", "one inside; add its folder to fetch.roots to open it")
    return found


def _read(path: Path, max_bytes: int) -> bytes:
    with os.fdopen(os.open(path, _FLAGS), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ItemError("fetch_failed", f"{_shown(path.name)} is a folder or a device; wanted a file")
        data = file.read(max_bytes + 1) if status.st_size <= max_bytes else b""
        if max(status.st_size, len(data)) > max_bytes:
            raise ItemError("too_large", f"{_shown(path.name)} has more than {max_bytes} bytes (fetch.max_bytes)")
        return data


def _shown(uri: str) -> str:
    return repr(uri.partition("?")[0][-120:])
