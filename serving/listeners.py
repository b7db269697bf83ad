"""Reads from /proc which processes of this machine listen where (Linux)."""

from __future__ import annotations

import ipaddress
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_LISTENS = "0A"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Listener:
    """One TCP socket that takes connections."""

    pid: int
    process: str
    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int

    @property
    def is_loopback(self) -> bool:
        mapped = self.address.ipv4_mapped if isinstance(self.address, ipaddress.IPv6Address) else None
        return (mapped or self.address).is_loopback


def of_tree(root: int) -> list[Listener]:
    """What a process and all its descendants listen on; of other users' processes nothing can be seen."""
    sockets = _sockets()
    found = {
        Listener(pid=pid, process=_name(pid), address=sockets[inode][0], port=sockets[inode][1])
        for pid in tree(root)
        for inode in _inodes(pid)
        if inode in sockets
    }
    return sorted(found, key=lambda listener: (listener.pid, listener.port, str(listener.address)))


def tree(root: int) -> list[int]:
    """A process and all its descendants, as they are now."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    for pid in _pids():
        children[_parent(pid)].append(pid)
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children[pid]
    return found


def owner(port: int, *, program: str) -> int | None:
    """The outermost process with ``program`` in its command line from which the listener on ``port`` descends."""
    inodes = {inode for inode, (_, its_port) in _sockets().items() if its_port == port}
    for pid in _pids():
        if inodes.intersection(_inodes(pid)):
            line = [ancestor for ancestor in _line(pid) if program in _command(ancestor)]
            return line[-1] if line else None
    return None


def _line(pid: int) -> Iterator[int]:
    while pid > 1:
        yield pid
        pid = _parent(pid)


def _sockets() -> dict[str, tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]]:
    """Address and port of every listening TCP socket in this network namespace, by inode."""
    files = [_PROC / "net" / name for name in ("tcp", "tcp6")]
    rows = [row.split() for file in files if file.exists() for row in file.read_text().splitlines()[1:]]
    return {row[9]: _address(row[1]) for row in rows if row[3] == _LISTENS}


def _address(text: str) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]:
    """The kernel prints an address as 32-bit words in the machine's byte order, in hexadecimal."""
    words, port = text.split(":")
    numbers = (int(words[start : start + 8], 16) for start in range(0, len(words), 8))
    packed = b"".join(number.to_bytes(4, sys.byteorder) for number in numbers)
    return ipaddress.ip_address(packed), int(port, 16)


def _inodes(pid: int) -> set[str]:
    links = list[str]()
    with suppress(OSError):  # the process has ended, or is somebody else's
        for file in (_PROC / str(pid) / "fd").iterdir():
            with suppress(OSError):  # it has been closed since
                links.append(str(file.readlink()))
    return {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}


def _pids() -> list[int]:
    return [int(folder.name) for folder in _PROC.iterdir() if folder.name.isdigit()] if _PROC.exists() else []


def _parent(pid: int) -> int:
    try:
        return int((_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _command(pid: int) -> str:
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def _name(pid: int) -> str:
    command = _command(pid)
    return command if command.startswith("ray::") else Path(command.split(" ")[0]).name
