"""Lists the samples of tar archives in WebDataset's layout, without unpacking them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import orjson

from models.types import MEDIA_OF_TASK, Item, Task
from pipelines.fetch.tar import Member
from pipelines.sources import tar_members
from pipelines.sources.entry import plain
from pipelines.sources.single_file import SingleFile
from pipelines.sources.source import failed
from pipelines.sources.suffixes import fits
from pipelines.sources.tar_members import DamagedError, TarMember
from pipelines.types import Failed

# webdataset's tariterators.py: the key ends at the first dot of the name's last part; names without one are no samples.
_KEY = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]*)", re.DOTALL)
_MOST_MEMBERS = 100  # of a sample
_LONGEST_META = 2**20  # bytes of a member that describes a sample

Part = tuple[str, TarMember]  # a member of a sample and its suffix, in lower case and without its dot
Sample = dict[str, TarMember]


class WebDataset:
    """The samples of one archive after the other, in their order; an item's id is its sample's key.

    Members that follow each other and share a key are a sample. The one whose suffix is of the task's media is the
    item, and stays where it is: its URI is its place in the archive. A .json beside it becomes meta by its plain
    values, a .txt or .cls by its text. Ids can repeat, in an archive as well as across several.
    """

    def __init__(self, files: Sequence[SingleFile], task: Task, *, location: str, member: str | None = None) -> None:
        """
        Args:
            files: the archives.
            task: what the items are for.
            location: the path or pattern that they were found by.
            member: the suffix of what is labelled, such as ``jpg`` or ``left.png``, where several could be.

        Raises:
            ConfigError: an archive is not there, or the first is compressed or no tar.
        """
        self._files = files
        self._task: Task = task
        self._location = location
        self._member = None if member is None else member.lower().removeprefix(".")
        self.name = self._location.rpartition("/")[2]
        with files[0].open() as first:
            tar_members.check(first)

    def identity(self) -> dict[str, str]:
        stamps = [file.identity() for file in self._files]
        settings = {"kind": "web_dataset", "media": MEDIA_OF_TASK[self._task], "member": self._member or ""}
        if len(stamps) == 1:
            return {**settings, **stamps[0]}
        content = hashlib.sha256(orjson.dumps(stamps)).hexdigest()
        return {**settings, "location": self._location, "archives": str(len(stamps)), "content": content}

    def entries(self) -> Iterator[Item | Failed]:
        for archive in self._files:
            with archive.open() as file:
                yield from self._samples(archive, file)

    def _samples(self, archive: SingleFile, file: BinaryIO) -> Iterator[Item | Failed]:
        try:
            for key, members in _groups(file):
                yield self._entry(key, members, archive, file)
        except DamagedError as err:
            message = f"the archive is damaged: {err}; what follows is not listed: write it anew"
            yield failed(f"{archive.name} from byte {err.offset}", self._task, "invalid_entry", message)

    def _entry(self, key: str, members: list[Part], archive: SingleFile, file: BinaryIO) -> Item | Failed:
        try:
            sample = _sample(members)
            chosen = sample.pop(self._chosen(sample))
            if chosen.fault:
                raise _BadSampleError(f"'{chosen.name[-120:]}' cannot be read: {chosen.fault}")
            meta = _meta(sample, file)
        except _BadSampleError as err:
            return failed(key, self._task, "invalid_entry", str(err))
        place = Member(
            archive=archive.location, name=chosen.name, offset=chosen.offset, size=chosen.size, header=chosen.header
        )
        return Item(id=key, media=MEDIA_OF_TASK[self._task], uri=place.uri, meta=meta)

    def _chosen(self, sample: Sample) -> str:
        """The suffix of what is labelled: the one that was asked for, else the only one of the media.

        A plain one goes before those of several parts: jpg before seg.jpg.
        """
        if self._member is not None:
            if self._member not in sample:
                raise _BadSampleError(f"the sample has {_listed(sample)}, wanted .{self._member}")
            return self._member
        media = [suffix for suffix in sample if fits(f"a.{suffix}", self._task)]
        plain = [suffix for suffix in media if "." not in suffix]
        match plain or media:
            case [only]:
                return only
            case []:
                wanted = f"one of {MEDIA_OF_TASK[self._task]}"
            case _:
                wanted = f"exactly one of {MEDIA_OF_TASK[self._task]}; name the one to label"
        raise _BadSampleError(f"the sample has {_listed(sample)}, wanted {wanted}")


class _BadSampleError(Exception):
    """What is wrong with a sample, in a sentence."""


def _groups(file: BinaryIO) -> Iterator[tuple[str, list[Part]]]:
    """The keys and the members of samples; of too many members the first.

    Raises:
        DamagedError: after the last sample that there is.
    """
    key, parts, damage = "", list[Part](), None
    members = tar_members.members(file)
    while True:
        try:
            member = next(members, None)
        except DamagedError as err:
            member, damage = None, err
        name = _KEY.fullmatch(member.name) if member else None
        if member is not None and name is None:
            continue
        if parts and (name is None or name[1] != key):
            yield key, parts
            parts = []
        if member is None or name is None:
            break
        key = name[1]
        if len(parts) <= _MOST_MEMBERS:
            parts.append((name[2].lower(), member))
    if damage is not None:
        raise damage


def _sample(members: list[Part]) -> Sample:
    if len(members) > _MOST_MEMBERS:
        raise _BadSampleError(f"the sample has more than {_MOST_MEMBERS} members")
    suffixes = [suffix for suffix, _ in members]
    for suffix in suffixes:
        if suffixes.count(suffix) > 1:
            raise _BadSampleError(f"the sample has several members .{suffix[:60]}; leave one")
    return dict(members)


def _meta(sample: Sample, file: BinaryIO) -> dict[str, str]:
    """What the members beside the labelled one say of it."""
    meta = dict[str, str]()
    for suffix, member in sample.items():
        if suffix in ("json", "txt", "cls"):
            meta |= _said(suffix, _content(member, file))
    return meta


def _said(suffix: str, content: bytes) -> dict[str, str]:
    try:
        if suffix != "json":
            return {suffix: content.decode().strip()}
        value = orjson.loads(content)
    except (UnicodeDecodeError, orjson.JSONDecodeError) as err:
        raise _BadSampleError(f"the sample's .{suffix} cannot be read; wanted valid {suffix} in UTF-8") from err
    if not isinstance(value, dict):
        return {}
    return plain(value)


def _content(member: TarMember, file: BinaryIO) -> bytes:
    if member.fault or member.size > _LONGEST_META:
        fault = member.fault or f"it has more than {_LONGEST_META} bytes"
        raise _BadSampleError(f"'{member.name[-120:]}' cannot be read: {fault}")
    file.seek(member.offset)
    return file.read(member.size)


def _listed(sample: Sample) -> str:
    return ", ".join(f".{suffix}" for suffix in sample)[:200] or "nothing"
