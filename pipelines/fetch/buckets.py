"""Reads objects from S3, Google Cloud Storage and Azure, only under the configured prefixes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from models.errors import ItemError
from pipelines.fetch.policy import FetchPolicy
from pipelines.fetch.url import blocked

SCHEMES = ("s3", "gs", "az")
OpenFilesystem = Callable[[str], Any]  # an fsspec filesystem for a scheme
_ODD = re.compile(r"[\x00-\x1f\x7f\\?#]")


def open_filesystem(scheme: str) -> Any:
    """The scheme's filesystem, with the credentials that its library finds."""
    import fsspec

    return fsspec.filesystem(scheme)


def read(uri: str, policy: FetchPolicy, open_filesystem: OpenFilesystem) -> bytes:
    """Read an object.

    Raises:
        ItemError: blocked_url, not_found, too_large, fetch_failed.
    """
    scheme, path = _check(uri, policy)
    name = f"{scheme}://{path}"[:200]
    try:
        filesystem = open_filesystem(scheme)
        stated = filesystem.info(path).get("size")
        data = b"" if stated and stated > policy.max_bytes else filesystem.cat_file(path)
    except ImportError as err:
        raise ItemError(
            "fetch_failed", f"{scheme}:// needs a library that is missing; run pip install 'prelabel[{scheme}]'"
        ) from err
    except FileNotFoundError as err:
        raise ItemError("not_found", f"there is no object {name}; check its name") from err
    except Exception as err:  # each store's library has exceptions of its own; their texts may hold secrets
        raise ItemError(
            "fetch_failed", f"cannot read {name}: {type(err).__name__}; check the credentials and that the store is up"
        ) from err
    if max(stated or 0, len(data)) > policy.max_bytes:
        raise ItemError("too_large", f"{name} has more than {policy.max_bytes} bytes (fetch.max_bytes); split it")
    return data


def _check(uri: str, policy: FetchPolicy) -> tuple[str, str]:
    """The scheme and the path of an object that may be opened."""
    scheme, separator, path = uri.partition("://")
    scheme = scheme.lower()
    if not separator or _ODD.search(path) or any(part in ("", ".", "..") for part in path.split("/")):
        raise blocked("an odd object name", f"{scheme}://bucket/key")
    if not any(f"{scheme}://{path}".startswith(prefix.rstrip("/") + "/") for prefix in policy.allowed_buckets):
        raise blocked("an object outside fetch.allowed_buckets", "one inside; add its prefix there to open it")
    return scheme, path
