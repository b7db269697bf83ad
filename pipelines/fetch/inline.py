"""Unpacks data: URIs."""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

from models.errors import ItemError
from models.types import Media
from pipelines.fetch.policy import FetchPolicy

_HEADER = re.compile(r"data:(?P<type>[^;,]{0,200})(?P<parameters>[^,]{0,200}),", re.IGNORECASE)


def read(uri: str, media: Media, policy: FetchPolicy) -> bytes:
    """The bytes in a data: URI (RFC 2397): base64, in either alphabet, or percent-encoded.

    Raises:
        ItemError: wrong_media, too_large, fetch_failed.
    """
    header = _HEADER.match(uri)
    if header is None:
        raise _malformed("no comma after its type")
    stated = header["type"].strip().lower().partition("/")[0]
    if stated in ("image", "audio", "text") and stated != media:
        raise ItemError("wrong_media", f"the data: URI says {stated} and the item says {media}; correct one of them")
    is_base64 = header["parameters"].strip().lower().endswith(";base64")
    if (len(uri) - header.end()) // (6 if is_base64 else 3) > policy.max_bytes:  # base64, itself percent-encoded
        raise too_large(policy)
    data = unquote_to_bytes(uri[header.end() :])
    return _from_base64(data) if is_base64 else data


def too_large(policy: FetchPolicy) -> ItemError:
    return ItemError("too_large", f"the item has more than {policy.max_bytes} bytes (fetch.max_bytes); split it")


def _from_base64(data: bytes) -> bytes:
    compact = b"".join(data.split()).rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    try:
        return base64.b64decode(compact + b"=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError) as err:
        raise _malformed("its base64 is damaged") from err


def _malformed(why: str) -> ItemError:
    return ItemError("fetch_failed", f"the data: URI cannot be read: {why}; wanted data:TYPE;base64,DATA")
