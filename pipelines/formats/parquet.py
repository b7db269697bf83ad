"""Writes results of every task as Parquet files, one row an item, and reads them back.

The columns are stated in pipelines/formats/table/schema.py. An item that failed is a row too. Of an item itself a row
holds the address, the slice keys and the text, but neither bytes nor prompts.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, get_args

import pyarrow.parquet as pq

from models.errors import ConfigError
from models.types import Annotation, Mask, Polygon, Task
from pipelines.formats.exported import Exported, LeftOut
from pipelines.formats.results import Result
from pipelines.formats.table.columns import batch
from pipelines.formats.table.rows import results
from pipelines.formats.table.schema import SCHEMA, VERSION, VERSION_KEY

TASKS: frozenset[Task] = frozenset(get_args(Task))

_ROWS_PER_SHARD = 100_000
_ROWS_AT_ONCE = 8_192
_ROWS_READ_AT_ONCE = 1_024
_BYTES_AT_ONCE = 1 << 25
_BYTES_OF_AN_ANNOTATION = 512
_BYTES_OF_A_POINT = 128
# With dictionaries for all columns, of numbers too, images with 20 boxes take twice as long and a fifth more bytes.
_REPETITIVE = [
    *("task", "status", "media", "route", "queue", "decision_policy_id", "error_code", "model", "model_version"),
    *("weights_digest", "config_digest", "policy_id", "calibration_id", "chain.list.element"),
    *("rules_digest", "ontology_digest"),
    *("annotations.list.element.label", "annotations.list.element.kind"),
    *(f"{name}.list.element.key" for name in ("meta", "uncertainty", "signals", "unmapped")),
    *(f"{name}.list.element.{part}" for name in ("findings", "more_findings") for part in ("rule", "action")),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A finished file of a table; ``sha256`` is in hex."""

    path: Path
    rows: int
    bytes: int
    sha256: str


def write(entries: Iterable[Exported], *, labels: Sequence[str], out: Path) -> LeftOut:
    """Write shards of 100,000 rows; nothing is left out."""
    write_shards(entries, out, rows_per_shard=_ROWS_PER_SHARD)
    return Counter()


def write_shards(entries: Iterable[Exported], out: Path, *, rows_per_shard: int, name: str = "part") -> list[Shard]:
    """Write ``<name>-00000.parquet`` and so on into a folder that exists; no entries make one shard without rows.

    Shards of an earlier run under this name are removed first, unfinished ones too, so that what lies in the folder
    belongs together.

    Raises:
        ConfigError: ``rows_per_shard`` is below 1.
    """
    if rows_per_shard < 1:
        raise ConfigError(f"wanted at least 1 row a shard; got {rows_per_shard}")
    _remove_shards(out, name)
    rest, shards = iter(entries), list[Shard]()
    for first in rest:
        entries_of_shard = chain([first], islice(rest, rows_per_shard - 1))
        shards.append(write_shard(entries_of_shard, out / f"{name}-{len(shards):05}.parquet"))
    return shards or [write_shard((), out / f"{name}-00000.parquet")]


def write_shard(entries: Iterable[Exported], file: Path) -> Shard:
    """Write one file, or none: it has its name only once it is complete and on the disk.

    A process that is killed leaves a hidden file ``.<file's name>.<digits>.tmp``. The same entries make the same bytes.
    """
    unfinished = file.with_name(f".{file.name}.{secrets.token_hex(4)}.tmp")
    try:
        with unfinished.open("xb") as sink:
            rows = _write_rows(entries, sink)
            sink.flush()
            os.fsync(sink.fileno())
        shard = _shard(unfinished, rows=rows, path=file)
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)
    _sync_folder(file.parent)
    return shard


def read(path: Path) -> Iterator[Result]:
    """The results of a file, or of all Parquet files of a folder in the order of their names.

    Raises:
        ConfigError: a file has no results in it, or another version of the columns.
    """
    files = sorted(path.glob("*.parquet"), key=lambda file: (len(file.name), file.name)) if path.is_dir() else [path]
    for file in files:
        yield from _read_file(file)


def _write_rows(entries: Iterable[Exported], sink: BinaryIO) -> int:
    rows = 0
    repetitive: Any = _REPETITIVE  # pyarrow takes names, and has its default's type, bool, taken for the argument's
    with pq.ParquetWriter(sink, SCHEMA, compression="zstd", use_dictionary=repetitive) as writer:
        for group in map(batch, _groups(entries)):  # nothing keeps a group's entries while the next one is gathered
            writer.write_batch(group)
            rows += group.num_rows
    return rows


def _groups(entries: Iterable[Exported]) -> Iterator[list[Exported]]:
    """Lists of entries that become a row group each: as many rows as readers like, or as many bytes as are held."""
    group, size = list[Exported](), 0
    for entry in entries:
        group.append(entry)
        size += _size(entry)
        if len(group) == _ROWS_AT_ONCE or size >= _BYTES_AT_ONCE:
            yield group
            group, size = [], 0
    if group:
        yield group


def _size(entry: Exported) -> int:
    """About how many bytes an entry takes in memory."""
    return len(entry.text or "") + sum(map(_size_of, entry.result.annotations))


def _size_of(annotation: Annotation) -> int:
    size = _BYTES_OF_AN_ANNOTATION + len(annotation.text or "")
    match annotation.geometry:
        case Mask(counts=counts):
            return size + len(counts)
        case Polygon(points_xy=points):
            return size + _BYTES_OF_A_POINT * len(points)
        case _:
            return size


def _shard(unfinished: Path, *, rows: int, path: Path) -> Shard:
    with unfinished.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Shard(path=path, rows=rows, bytes=unfinished.stat().st_size, sha256=digest)


def _sync_folder(folder: Path) -> None:
    """Put a new name on the disk; a file's own fsync does not."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_shards(folder: Path, name: str) -> None:
    shards = re.compile(
        rf"{re.escape(name)}-\d{{5,}}\.parquet|\.{re.escape(name)}-\d{{5,}}\.parquet\.[0-9a-f]{{8}}\.tmp"
    )
    for file in list(folder.iterdir()):
        if shards.fullmatch(file.name):
            file.unlink()


def _read_file(file: Path) -> Iterator[Result]:
    with pq.ParquetFile(file) as table:
        version = (table.schema_arrow.metadata or {}).get(VERSION_KEY, b"none")
        if version != VERSION:
            got, wanted = version.decode(errors="replace"), VERSION.decode()
            raise ConfigError(f"wanted version {wanted} of the columns; {file} has {got}; export the results again")
        for rows in table.iter_batches(_ROWS_READ_AT_ONCE):
            yield from results(rows)
