"""Reads members of tar archives where they lie, in files and buckets."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from urllib.parse import quote_from_bytes, unquote_to_bytes

from models.errors import ItemError
from pipelines.fetch import buckets, files
from pipelines.fetch.policy import FetchPolicy
from pipelines.fetch.url import blocked

HEADER_BYTES = 512
_URI = re.compile(
    r"tar:(?P<archive>[^?#]+)\?offset=(?P<offset>\d{1,18})&size=(?P<size>\d{1,18})&header=(?P<header>[0-9a-f]{16})"
    r"#(?P<name>.*)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A regular file in an archive.

    Attributes:
        archive: the archive's path, or its ``scheme://bucket/key``.
        name: the member's, for messages.
        offset: where its bytes begin; its header is the 512 bytes before.
        size: of its bytes.
        header: ``digest`` of its header, by which a changed archive is known.
    """

    archive: str
    name: str
    offset: int
    size: int
    header: str

    @property
    def uri(self) -> str:
        """``tar:/folder/shard.tar?offset=1536&size=20480&header=…#key.jpg``, percent-encoded."""
        where = f"offset={self.offset}&size={self.size}&header={self.header}"
        return f"tar:{_quoted(self.archive)}?{where}#{_quoted(self.name)}"


def digest(header: bytes) -> str:
    """16 hexadecimal digits of a header's sha256."""
    return hashlib.sha256(header).hexdigest()[:16]


def read(uri: str, policy: FetchPolicy, open_filesystem: buckets.OpenFilesystem) -> bytes:
    """The bytes of the member that a tar: URI names. What goes for its archive goes for it.

    Raises:
        ItemError: blocked_url, not_found, too_large, changed (another header is there now, or less than was stated),
            fetch_failed.
    """
    member = _parse(uri)
    if member.size > policy.max_bytes:
        message = f"'{member.name[-120:]}' has more than {policy.max_bytes} bytes (fetch.max_bytes); split it"
        raise ItemError("too_large", message)
    start, end = member.offset - HEADER_BYTES, member.offset + member.size
    if member.archive.partition("://")[0].lower() in buckets.SCHEMES:
        data = buckets.read_part(member.archive, start, end, policy, open_filesystem)
    else:
        data = files.read_part(member.archive, start, end, policy)
    if len(data) != end - start or digest(data[:HEADER_BYTES]) != member.header:
        message = f"'{member.name[-120:]}' is not where it was in its archive, which has changed; list the drop again"
        raise ItemError("changed", message)
    return data[HEADER_BYTES:]


def _parse(uri: str) -> Member:
    parts = _URI.fullmatch(uri)
    if parts is None or int(parts["offset"]) < HEADER_BYTES:
        raise blocked("a tar: URI that cannot be read", "tar:/folder/shard.tar?offset=…&size=…&header=…#name")
    return Member(
        archive=_unquoted(parts["archive"]),
        name=_unquoted(parts["name"]),
        offset=int(parts["offset"]),
        size=int(parts["size"]),
        header=parts["header"].lower(),
    )


def _quoted(text: str) -> str:
    return quote_from_bytes(text.encode("utf-8", "surrogateescape"), safe="/:")


def _unquoted(text: str) -> str:
    return unquote_to_bytes(text).decode("utf-8", "surrogateescape")
