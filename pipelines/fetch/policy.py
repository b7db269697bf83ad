"""States what a user's URI may open, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchPolicy:
    """What may be opened; by default the public web and data: URIs, no files and no buckets.

    Attributes:
        roots: folders whose files may be read, links followed only within them.
        allowed_hosts: ``host`` or ``host:port`` (IPv6 in brackets) opened even where the address is private, such as
            the labeling platform or an object store beside it. A host without a port opens on ``allowed_ports``.
        only_allowed_hosts: whether every other host is refused.
        allowed_ports: the ports of http and https URLs.
        allowed_buckets: prefixes such as ``s3://drops/incoming`` under which objects may be read.
        max_bytes: of one item, as sent and as unpacked.
        connect_timeout_s: for each address tried.
        total_timeout_s: for one item, with its redirects and retries, once it is its turn; 64 are read at once.
        max_redirects: each one is checked like a URL of its own.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    roots: tuple[Path, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    only_allowed_hosts: bool = False
    allowed_ports: tuple[Annotated[int, Field(gt=0, lt=65_536)], ...] = (80, 443, 8080, 8443)
    allowed_buckets: tuple[str, ...] = ()
    max_bytes: PositiveInt = 64 * 1024 * 1024
    connect_timeout_s: PositiveFloat = 10.0
    total_timeout_s: PositiveFloat = 30.0
    max_redirects: NonNegativeInt = 3

    def names(self, host: str, port: int) -> bool:
        """Whether the host is one of those that the administrator opened by name."""
        name = host.lower().rstrip(".")
        name = f"[{name}]" if ":" in name else name
        return f"{name}:{port}" in self.allowed_hosts or (name in self.allowed_hosts and port in self.allowed_ports)
