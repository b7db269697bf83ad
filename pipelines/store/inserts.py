"""Builds inserts that take all their rows as one JSON document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Executable, RowMapping, Table, Text, bindparam, cast, column, func, select
from sqlalchemy.dialects.postgresql import JSONB, Insert, insert
from sqlalchemy.ext.asyncio import AsyncConnection

Row = dict[str, Any]

_DOCUMENT_BYTES = 16 * 2**20  # PostgreSQL reads no document above 256 MiB, and memory holds it several times


def insert_rows(table: Table, *names: str, **constants: ColumnElement[Any]) -> Insert:
    """An insert of rows with these columns, and of the same ``constants`` into each.

    Its text does not depend on the number of rows, so that the database plans it once and one value is bound. For 64
    rows of 6 columns that takes the client 1.6 ms where a row of parameters for each takes 5 to 8 ms, and one array for
    each column 18 ms (SQLAlchemy 2.1, psycopg 3.3).
    """
    document = cast(bindparam("rows", type_=Text), JSONB)
    columns = (column(name, table.c[name].type) for name in names)
    given = func.jsonb_to_recordset(document).table_valued(*columns).render_derived("given", with_types=True)
    return insert(table).from_select([*names, *constants], select(*given.c, *constants.values()))


async def execute(connection: AsyncConnection, statement: Executable, rows: Iterable[Row]) -> list[RowMapping]:
    """Insert the rows in their order; what the statement returns."""
    returned = list[RowMapping]()
    for document in _documents(rows):
        result = await connection.execute(statement, {"rows": document})
        returned += result.mappings() if result.returns_rows else ()
    return returned


def as_json(row: Row) -> bytes:
    """A row as JSON; its texts must be storable and its numbers finite (see rows.py)."""
    return orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY)


def _documents(rows: Iterable[Row]) -> Iterator[str]:
    """The rows as JSON arrays of a bounded size."""
    written, size = list[bytes](), 0
    for row in map(as_json, rows):
        if written and size + len(row) > _DOCUMENT_BYTES:
            yield _array(written)
            written, size = [], 0
        written.append(row)
        size += len(row)
    if written:
        yield _array(written)


def _array(written: list[bytes]) -> str:
    return f"[{b','.join(written).decode()}]"
