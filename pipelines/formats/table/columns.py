"""Turns entries into the columns of a table, a column at a time: a million rows have hundreds of millions of values."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, chain
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

import pyarrow as pa

from models.types import Annotation, AttributeValue, Mask
from pipelines.formats.exported import Exported
from pipelines.formats.table.schema import (
    ANNOTATION,
    FINDING,
    MASK,
    MORE_FINDINGS,
    OF_ANNOTATION,
    OF_DECISION,
    OF_ERROR,
    OF_FINDING,
    OF_GEOMETRY,
    OF_MORE_FINDINGS,
    OF_PROVENANCE,
    OF_RESULT,
    SCHEMA,
)
from pipelines.formats.table.surrogates import column_of, column_of_texts

Columns = dict[str, pa.Array]


def batch(entries: Sequence[Exported]) -> pa.RecordBatch:
    """The rows of ``SCHEMA`` that stand for the entries.

    Lone surrogates are escaped (pipelines/formats/table/surrogates.py), except in the column ``text``: spans count its
    code points, so U+FFFD stands there for each.
    """
    results = [entry.result for entry in entries]
    columns = {
        **_items(entries),
        **_fields(results, OF_RESULT, SCHEMA),
        **_sizes([result.size_hw for result in results]),
        "uncertainty": _mappings([result.uncertainty for result in results], pa.float64()),
        "signals": _mappings([result.signals for result in results], pa.float64()),
        "annotations": _annotations([result.annotations for result in results]),
        "findings": _structs([result.findings for result in results], OF_FINDING, FINDING),
        "more_findings": _structs([result.more_findings for result in results], OF_MORE_FINDINGS, MORE_FINDINGS),
        "unmapped": _mappings([result.unmapped for result in results], pa.int64()),
        **_fields([result.decision for result in results], OF_DECISION, SCHEMA),
        **_fields([result.error for result in results], OF_ERROR, SCHEMA),
        **_fields([result.provenance for result in results], OF_PROVENANCE, SCHEMA),
        "chain": _chains([result.provenance and result.provenance.chain for result in results]),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def _items(entries: Sequence[Exported]) -> Columns:
    items = [entry.item for entry in entries]
    return {
        "media": _column([item.media for item in items], pa.string()),
        "uri": _column([item.uri for item in items], pa.string()),
        "text": column_of_texts([entry.text for entry in entries]),
        "meta": _mappings([item.meta for item in items], pa.string()),
    }


def _sizes(sizes_hw: Sequence[tuple[int, int] | None]) -> Columns:
    return {
        "height": pa.array([size and size[0] for size in sizes_hw], pa.int64()),
        "width": pa.array([size and size[1] for size in sizes_hw], pa.int64()),
    }


def _annotations(of_rows: Sequence[Sequence[Annotation]]) -> pa.Array:
    flat = list(chain.from_iterable(of_rows))
    columns = {
        **_fields(flat, OF_ANNOTATION, ANNOTATION),
        **_geometries(flat),
        "attributes": _column([_json(annotation.attributes) for annotation in flat], pa.string()),
    }
    structs = pa.StructArray.from_arrays([columns[field.name] for field in ANNOTATION], fields=list(ANNOTATION))
    return pa.ListArray.from_arrays(_offsets(of_rows), structs)


def _structs(of_rows: Sequence[Sequence[object]], names: Mapping[str, str], struct: pa.StructType) -> pa.Array:
    """Lists of values, each field of which is a field of the struct."""
    columns = _fields(list(chain.from_iterable(of_rows)), names, struct)
    structs = pa.StructArray.from_arrays([columns[field.name] for field in struct], fields=list(struct))
    return pa.ListArray.from_arrays(_offsets(of_rows), structs)


def _geometries(annotations: Sequence[Annotation]) -> Columns:
    geometries = [annotation.geometry for annotation in annotations]
    kinds = [geometry.kind for geometry in geometries]
    columns = {"kind": pa.array(kinds, pa.string()), "mask": pa.nulls(len(kinds), MASK)}
    for kind, names in OF_GEOMETRY.items():
        if kind in kinds:
            columns |= _fields([g if g.kind == kind else None for g in geometries], names, ANNOTATION)
        else:
            columns |= {name: pa.nulls(len(kinds), ANNOTATION.field(name).type) for name in names.values()}
    if "mask" in kinds:
        columns["mask"] = _masks([geometry if geometry.kind == "mask" else None for geometry in geometries])
    return columns


def _masks(masks: Sequence[Mask | None]) -> pa.Array:
    sizes = _sizes([None if mask is None else mask.size_hw for mask in masks])
    counts = _column([None if mask is None else mask.counts for mask in masks], pa.string())
    is_null = pa.array([mask is None for mask in masks], pa.bool_())
    return pa.StructArray.from_arrays([sizes["height"], sizes["width"], counts], fields=list(MASK), mask=is_null)


def _fields(values: Sequence[object | None], names: Mapping[str, str], types: pa.Schema | pa.StructType) -> Columns:
    """A column for each field of the values; null where there is no value."""
    nothing = SimpleNamespace(**dict.fromkeys(names))
    given = [nothing if value is None else value for value in values]
    return {
        name: _column(list(map(attrgetter(field), given)), types.field(name).type)  # twice as fast as a comprehension
        for field, name in names.items()
    }


def _mappings(mappings: Sequence[Mapping[str, object]], value_type: pa.DataType) -> pa.Array:
    keys = _column(list(chain.from_iterable(mappings)), pa.string())
    values = _column(list(chain.from_iterable(mapping.values() for mapping in mappings)), value_type)
    return pa.ListArray.from_arrays(_offsets(mappings), pa.StructArray.from_arrays([keys, values], ["key", "value"]))


def _chains(chains: Sequence[Sequence[str] | None]) -> pa.Array:
    names = _column([name for names in chains if names for name in names], pa.string())
    is_null = pa.array([names is None for names in chains], pa.bool_())
    return pa.ListArray.from_arrays(_offsets([names or () for names in chains]), names, mask=is_null)


def _offsets(rows: Iterable[Sequence[object] | Mapping[str, object]]) -> pa.Array:
    return pa.array(list(accumulate(map(len, rows), initial=0)), pa.int32())


def _column(values: Sequence[Any], of: pa.DataType) -> pa.Array:
    return column_of(values) if pa.types.is_string(of) else pa.array(values, of)


def _json(attributes: Mapping[str, AttributeValue]) -> str:
    if not attributes:
        return "{}"
    try:
        return _WRITER.encode(attributes)
    except ValueError:
        members = (f"{_WRITER.encode(name)}:{_json_value(value)}" for name, value in attributes.items())
        return "{" + ",".join(members) + "}"


def _json_value(value: AttributeValue) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: "1e999", -math.inf: "-1e999"}.get(value, "null")
    return _WRITER.encode(value)


_WRITER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
