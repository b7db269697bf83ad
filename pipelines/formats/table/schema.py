"""States the columns of a table of results, with types that pandas, DuckDB and Hugging Face ``datasets`` all read.

Mappings are lists of ``{key, value}``, because ``datasets`` refuses Arrow's map type (5.2.0: "Arrow type map<string,
double> does not have a datasets dtype equivalent"); DuckDB makes a map of one with ``map_from_entries``. Attributes,
whose values are of mixed types, are a JSON object; an infinity in it is 1e999, a NaN null. Coordinates are pixels of
the upright image, times are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

VERSION = b"1"  # raised when a column changes its meaning or goes; what came later is null where a file lacks it
VERSION_KEY = b"prelabel.schema"

_STRINGS = pa.list_(pa.struct([("key", pa.string()), ("value", pa.string())]))
_NUMBERS = pa.list_(pa.struct([("key", pa.string()), ("value", pa.float64())]))
_COUNTS = pa.list_(pa.struct([("key", pa.string()), ("value", pa.int64())]))

MASK = pa.struct([("height", pa.int64()), ("width", pa.int64()), ("counts", pa.string())])  # compressed COCO RLE

ANNOTATION = pa.struct(
    [
        ("id", pa.string()),  # unique within its row
        ("label", pa.string()),
        ("kind", pa.string()),  # box, polygon, mask, text_span, time_span or whole_item
        ("score", pa.float64()),  # the model's own
        ("confidence", pa.float64()),  # calibrated; null until there is a calibration
        ("text", pa.string()),
        ("parent_id", pa.string()),
        ("attributes", pa.string()),  # a JSON object
        # What the kind does not need is null.
        ("box", pa.list_(pa.float64())),  # x1, y1, x2, y2
        ("polygon", pa.list_(pa.list_(pa.float64()))),  # (x, y) points
        ("mask", MASK),
        ("start", pa.int64()),  # code points of the text, half-open
        ("end", pa.int64()),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
    ]
)

FINDING = pa.struct(
    [
        ("rule", pa.string()),
        ("annotation_id", pa.string()),
        ("action", pa.string()),  # flagged, changed or removed
        ("message", pa.string()),
    ]
)

MORE_FINDINGS = pa.struct([("rule", pa.string()), ("action", pa.string()), ("count", pa.int64())])

SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("task", pa.string()),
        ("status", pa.string()),  # labels, nothing_found or failed
        ("media", pa.string()),
        ("uri", pa.string()),
        ("text", pa.string()),  # a text item's own, where it is known
        ("meta", _STRINGS),
        ("height", pa.int64()),
        ("width", pa.int64()),
        ("duration_s", pa.float64()),
        ("confidence", pa.float64()),
        ("calibrated", pa.bool_()),
        ("uncertainty", _NUMBERS),
        ("signals", _NUMBERS),
        ("annotations", pa.list_(ANNOTATION)),
        ("findings", pa.list_(FINDING)),  # what the sanity rules found; a removed annotation is none of the row's
        ("more_findings", pa.list_(MORE_FINDINGS)),  # how many there are beyond the first hundred
        ("unmapped", _COUNTS),  # the models' labels that mean no class of the ontology: annotations by label
        # The decision; null where there is none.
        ("route", pa.string()),
        ("queue", pa.string()),
        ("reason", pa.string()),
        ("threshold", pa.float64()),
        ("propensity", pa.float64()),
        ("draw", pa.float64()),
        ("is_blind", pa.bool_()),  # whether a reviewer must not see the pre-label
        ("uniform_rate", pa.float64()),  # of the random sample that the item was drawn into; null where it was not
        ("decision_policy_id", pa.string()),
        # Why the item failed; null where it did not.
        ("error_code", pa.string()),
        ("error_message", pa.string()),
        # The provenance; null where there is none.
        ("model", pa.string()),
        ("model_version", pa.string()),
        ("weights_digest", pa.string()),
        ("config_digest", pa.string()),
        ("chain", pa.list_(pa.string())),
        ("policy_id", pa.string()),
        ("calibration_id", pa.string()),
        ("item_digest", pa.string()),
        ("created_at", pa.timestamp("us", tz="UTC")),
        ("rules_digest", pa.string()),
        ("ontology_digest", pa.string()),  # null where there was no ontology
    ],
    metadata={VERSION_KEY: VERSION},
)

# The columns that hold one field of a value as it is, by the field's name.
OF_RESULT: Mapping[str, str] = {
    "id": "item_id",
    "task": "task",
    "status": "status",
    "duration_s": "duration_s",
    "confidence": "confidence",
    "calibrated": "calibrated",
}
OF_DECISION: Mapping[str, str] = {
    "route": "route",
    "queue": "queue",
    "reason": "reason",
    "threshold": "threshold",
    "propensity": "propensity",
    "draw": "draw",
    "is_blind": "is_blind",
    "uniform_rate": "uniform_rate",
    "policy_id": "decision_policy_id",
}
OF_ERROR: Mapping[str, str] = {"code": "error_code", "message": "error_message"}
OF_PROVENANCE: Mapping[str, str] = {
    "model": "model",
    "model_version": "model_version",
    "weights_digest": "weights_digest",
    "config_digest": "config_digest",
    "policy_id": "policy_id",
    "calibration_id": "calibration_id",
    "item_digest": "item_digest",
    "created_at": "created_at",
    "rules_digest": "rules_digest",
    "ontology_digest": "ontology_digest",
}
OF_ANNOTATION: Mapping[str, str] = {
    "id": "id",
    "label": "label",
    "score": "score",
    "confidence": "confidence",
    "text": "text",
    "parent_id": "parent_id",
}
OF_FINDING: Mapping[str, str] = {field.name: field.name for field in FINDING}
OF_MORE_FINDINGS: Mapping[str, str] = {field.name: field.name for field in MORE_FINDINGS}
OF_GEOMETRY: Mapping[str, Mapping[str, str]] = {  # by kind
    "box": {"xyxy": "box"},
    "polygon": {"points_xy": "polygon"},
    "text_span": {"start": "start", "end": "end"},
    "time_span": {"start_s": "start_s", "end_s": "end_s"},
}
