"""Reads objects from S3, Google Cloud Storage and Azure, only under the configured prefixes."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from models.errors import ItemError
from pipelines.fetch.policy import FetchPolicy
from pipelines.fetch.url import blocked

SCHEMES = ("s3", "gs", "az")
OpenFilesystem = Callable[[str], Any]  # an fsspec filesystem for a scheme
_BUFFER_BYTES = 2**20
_ODD = re.compile(r"[\x00-\x1f\x7f\\?#]")


def open_filesystem(scheme: str) -> Any:
    """The scheme's filesystem, with the credentials that its library finds."""
    import fsspec

    return fsspec.filesystem(scheme, use_listings_cache=False)  # it would show what was there at the first look


def read(uri: str, policy: FetchPolicy, open_filesystem: OpenFilesystem) -> bytes:
    """Read an object.

    Raises:
        ItemError: blocked_url, not_found, too_large, changed (there came less than the store had stated), fetch_failed,
            unreachable.
    """
    scheme, path = _check(uri, policy)
    name = f"{scheme}://{path}"[:200]
    with _named(scheme, name):
        filesystem = open_filesystem(scheme)
        stated = filesystem.info(path).get("size")
        data = b"" if stated and stated > policy.max_bytes else filesystem.cat_file(path)
    if max(stated or 0, len(data)) > policy.max_bytes:
        raise ItemError("too_large", f"{name} has more than {policy.max_bytes} bytes (fetch.max_bytes); split it")
    if len(data) < (stated or 0):  # more is nothing odd: some stores unpack gzip on the way
        raise ItemError("changed", f"{name} changed while it was read; try again when it is complete")
    return data


def read_part(uri: str, start: int, end: int, policy: FetchPolicy, open_filesystem: OpenFilesystem) -> bytes:
    """Read a range of bytes of an object; less where it ends before.

    Raises:
        ItemError: blocked_url, not_found, fetch_failed, unreachable.
    """
    scheme, path = _check(uri, policy)
    with _named(scheme, f"{scheme}://{path}"[:200]):
        return open_filesystem(scheme).cat_file(path, start=start, end=end)


def check(uri: str, policy: FetchPolicy) -> None:
    """See whether an object, or what is below a prefix, may be opened; the store is not asked.

    Raises:
        ItemError: blocked_url.
    """
    _check(uri.rstrip("/") + "/-", policy)


def open_object(uri: str, policy: FetchPolicy, open_filesystem: OpenFilesystem) -> tuple[BinaryIO, dict[str, Any]]:
    """An object as a file that reads ranges, whatever its size, and what the store says of it.

    Raises:
        ItemError: blocked_url, not_found, fetch_failed, unreachable. What goes wrong while the
            file is read is an OSError.
    """
    scheme, path = _check(uri, policy)
    with _named(scheme, f"{scheme}://{path}"[:200]):
        filesystem = open_filesystem(scheme)
        stated = filesystem.info(path)
        raw = _Object(filesystem.open(path, "rb", cache_type="readahead"))
    return io.BufferedReader(raw, buffer_size=_BUFFER_BYTES), stated


def list_keys(uri: str, policy: FetchPolicy, open_filesystem: OpenFilesystem) -> Iterator[str]:
    """The keys of all objects below a prefix, relative to it, in the order of their bytes in UTF-8.

    S3 is asked page by page; of other stores all keys are in memory at once.

    Raises:
        ItemError: blocked_url, not_found, fetch_failed, unreachable.
    """
    scheme, path = _check(uri.rstrip("/") + "/-", policy)  # below, and not beside
    bucket, _, prefix = path.removesuffix("-").partition("/")
    pages = _pages(open_filesystem, scheme, bucket, prefix)
    while True:
        with _named(scheme, f"{scheme}://{bucket}/{prefix}"[:200]):
            page = next(pages, None)
        if page is None:
            return
        for key in page:
            yield key.removeprefix(prefix)


def _pages(open_filesystem: OpenFilesystem, scheme: str, bucket: str, prefix: str) -> Iterator[list[str]]:
    filesystem = open_filesystem(scheme)
    if not hasattr(filesystem, "call_s3"):
        found = filesystem.find(f"{bucket}/{prefix}")
        yield sorted((path.lstrip("/").removeprefix(f"{bucket}/") for path in found), key=str.encode)
        return
    token = {}
    while True:
        page = filesystem.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, **token)
        yield [entry["Key"] for entry in page.get("Contents", ())]
        if not page.get("IsTruncated"):
            return
        token = {"ContinuationToken": page["NextContinuationToken"]}


class _Object(io.RawIOBase):
    """An fsspec file whose every failure is an OSError without the store's own words, which may hold secrets."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._file.read(len(buffer))
        except Exception as err:  # each store's library has exceptions of its own
            raise OSError(f"the store failed: {type(err).__name__}") from err
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


@contextmanager
def _named(scheme: str, name: str) -> Iterator[None]:
    """Gives what a store's library says the name of an item's error."""
    try:
        yield
    except ImportError as err:
        raise ItemError(
            "fetch_failed", f"{scheme}:// needs a library that is missing; run pip install 'prelabel[{scheme}]'"
        ) from err
    except FileNotFoundError as err:
        raise ItemError("not_found", f"there is no object {name}; check its name") from err
    except PermissionError as err:
        raise ItemError("fetch_failed", f"may not read {name}; check the credentials") from err
    except Exception as err:  # each store's library has exceptions of its own; their texts may hold secrets
        raise ItemError(
            "unreachable", f"cannot read {name}: {type(err).__name__}; check the credentials and that the store is up"
        ) from err


def _check(uri: str, policy: FetchPolicy) -> tuple[str, str]:
    """The scheme and the path of an object that may be opened."""
    scheme, separator, path = uri.partition("://")
    scheme = scheme.lower()
    if not separator or _ODD.search(path) or any(part in ("", ".", "..") for part in path.split("/")):
        raise blocked("an odd object name", f"{scheme}://bucket/key")
    if not any(f"{scheme}://{path}".startswith(prefix.rstrip("/") + "/") for prefix in policy.allowed_buckets):
        raise blocked("an object outside fetch.allowed_buckets", "one inside; add its prefix there to open it")
    return scheme, path
