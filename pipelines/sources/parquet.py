"""Reads a manifest in Parquet, one row group after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from models.errors import ConfigError
from pipelines.sources.encoding import Row, checked

_ROWS_AT_ONCE = 1024


def names(file: BinaryIO) -> list[str]:
    """The columns that hold plain values; lists, structures and bytes are passed over.

    Raises:
        ConfigError: it is no Parquet, or some names are equal.
    """
    return _names(_opened(file))


def rows(file: BinaryIO) -> Iterator[Row]:
    """The rows; those of a row group that is damaged are one fault from where it is."""
    import pyarrow

    parquet = _opened(file)
    columns, first = _names(parquet), 1
    for group in range(parquet.num_row_groups):
        end, done = first + parquet.metadata.row_group(group).num_rows, first
        try:
            for batch in parquet.iter_batches(_ROWS_AT_ONCE, row_groups=[group], columns=columns, use_threads=False):
                yield from _rows(batch, done)
                done += batch.num_rows
        except (pyarrow.ArrowException, OSError) as err:
            place = f"rows {done} to {end - 1}"
            yield Row(place=place, fault=f"the row group is damaged ({type(err).__name__}); write the manifest anew")
        first = end


def _opened(file: BinaryIO) -> Any:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        return ParquetFile(file)
    except (pyarrow.ArrowException, OSError) as err:
        raise ConfigError("the manifest is no Parquet, or damaged; write it anew") from err


def _names(parquet: Any) -> list[str]:
    return checked([field.name for field in parquet.schema_arrow if _is_plain(field.type)])


def _is_plain(kind: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    is_bytes = types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)
    return not (types.is_nested(kind) or is_bytes or types.is_binary_view(kind))


def _rows(batch: Any, first: int) -> Iterator[Row]:
    columns = {name: _values(column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}
    for at in range(batch.num_rows):
        record = {name: values[at] for name, values in columns.items()}
        place = f"row {first + at}"
        faulty = [name for name, value in record.items() if isinstance(value, _Unreadable)]
        yield Row(place=place, fault=f"'{faulty[0][:60]}' is not UTF-8") if faulty else Row(place=place, record=record)


class _Unreadable:
    """Stands for a value that cannot be read."""


def _values(column: Any) -> list[Any]:
    try:
        return column.to_pylist()
    except ValueError:  # one text that is no UTF-8
        return [_value(value) for value in column]


def _value(value: Any) -> Any:
    try:
        return value.as_py()
    except ValueError:
        return _Unreadable()
