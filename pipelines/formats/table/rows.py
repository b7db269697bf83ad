"""Reads the rows of a table as results."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, TypeVar

import pyarrow as pa

from models.types import Annotation, Box, Geometry, Mask, Polygon, TextSpan, TimeSpan, WholeItem
from pipelines.formats.results import Result
from pipelines.formats.table.schema import (
    OF_ANNOTATION,
    OF_DECISION,
    OF_ERROR,
    OF_FINDING,
    OF_MORE_FINDINGS,
    OF_PROVENANCE,
    OF_RESULT,
    SCHEMA,
)
from pipelines.formats.table.surrogates import strings_of
from pipelines.sanity import Finding, MoreFindings
from pipelines.types import Decision, Failure, Provenance

T = TypeVar("T")
Values = list[Any]  # one for each row

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def results(batch: pa.RecordBatch) -> Iterator[Result]:
    """The results that the rows stand for, in their order. Columns of ``SCHEMA`` that came later may be missing."""
    batch = _complete(batch)
    columns = (
        _objects(batch, OF_RESULT),
        _objects(batch, OF_DECISION),
        _objects(batch, OF_ERROR),
        _objects(batch, OF_PROVENANCE),
        _lists(batch["chain"]),
        _mappings(batch["uncertainty"]),
        _mappings(batch["signals"]),
        zip(_values(batch["height"]), _values(batch["width"]), strict=True),
        _annotations(batch["annotations"]),
        zip(
            _structs(batch["findings"], OF_FINDING, Finding),
            _structs(batch["more_findings"], OF_MORE_FINDINGS, MoreFindings),
            _mappings(batch["unmapped"]),
            strict=True,
        ),
    )
    for own, decision, error, provenance, chain, uncertainty, signals, size_hw, labels, remarks in zip(
        *columns, strict=True
    ):
        findings, more_findings, unmapped = remarks
        yield Result(
            **own,
            annotations=labels,
            findings=findings,
            more_findings=more_findings,
            unmapped=unmapped,
            uncertainty=uncertainty,
            signals=signals,
            size_hw=None if size_hw[0] is None else size_hw,
            decision=None
            if decision["route"] is None
            else Decision(**decision | {"is_blind": bool(decision["is_blind"])}),
            provenance=None if provenance["model"] is None else Provenance(**provenance, chain=tuple(chain)),
            error=None if error["code"] is None else Failure(**error),
        )


def _complete(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with a column of nulls for each that it lacks."""
    given = set(batch.schema.names)
    columns = [batch[field.name] if field.name in given else pa.nulls(batch.num_rows, field.type) for field in SCHEMA]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _structs(column: pa.ListArray, names: Mapping[str, str], of: Callable[..., T]) -> Iterator[tuple[T, ...]]:
    flat = (of(**fields) for fields in _objects(pa.RecordBatch.from_struct_array(column.flatten()), names))
    for length in _lengths(column):
        yield tuple(islice(flat, length))


def _annotations(column: pa.ListArray) -> Iterator[tuple[Annotation, ...]]:
    structs = pa.RecordBatch.from_struct_array(column.flatten())
    attributes = (json.loads(text) for text in _values(structs["attributes"]))
    parts = zip(_objects(structs, OF_ANNOTATION), _geometries(structs), attributes, strict=True)
    flat = (Annotation(**own, geometry=geometry, attributes=extra) for own, geometry, extra in parts)
    for length in _lengths(column):
        yield tuple(islice(flat, length))


def _geometries(structs: pa.RecordBatch) -> Iterator[Geometry]:
    masks = pa.RecordBatch.from_struct_array(structs["mask"])
    names = ("kind", "box", "polygon", "start", "end", "start_s", "end_s")
    columns = [_values(structs[name]) for name in names] + [
        _values(masks[name]) for name in ("height", "width", "counts")
    ]
    for kind, box, polygon, start, end, start_s, end_s, height, width, counts in zip(*columns, strict=True):
        match kind:
            case "box":
                yield Box(xyxy=tuple(box))
            case "polygon":
                yield Polygon(points_xy=tuple((x, y) for x, y in polygon))
            case "mask":
                yield Mask(size_hw=(height, width), counts=counts)
            case "text_span":
                yield TextSpan(start=start, end=end)
            case "time_span":
                yield TimeSpan(start_s=start_s, end_s=end_s)
            case "whole_item":
                yield WholeItem()
            case _:
                raise ValueError(f"unknown kind of geometry {kind!r}")


def _objects(batch: pa.RecordBatch, names: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """The fields of a value, by their names, row by row."""
    columns = [_values(batch[name]) for name in names.values()]
    return (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))


def _mappings(column: pa.ListArray) -> Iterator[dict[str, Any]]:
    entries = pa.RecordBatch.from_struct_array(column.flatten())
    pairs = zip(_values(entries["key"]), _values(entries["value"]), strict=True)
    for length in _lengths(column):
        yield dict(islice(pairs, length))


def _lists(column: pa.ListArray) -> Iterator[Values]:
    flat = iter(_values(column.flatten()))
    for length in _lengths(column):
        yield list(islice(flat, length))


def _lengths(column: pa.ListArray) -> Iterable[int]:
    return (length or 0 for length in column.value_lengths().to_pylist())  # a null has no length


def _values(column: pa.Array) -> Values:
    if pa.types.is_timestamp(column.type):  # pyarrow's own way to a datetime takes ten times as long
        microseconds = column.cast(pa.int64()).to_pylist()
        return [None if value is None else _EPOCH + timedelta(microseconds=value) for value in microseconds]
    return strings_of(column) if pa.types.is_string(column.type) else column.to_pylist()
