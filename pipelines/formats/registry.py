"""Lists the export formats by the names that users call them."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from models.errors import ConfigError
from pipelines.formats.exported import Format

# The modules are imported when they are asked for: some bring large libraries.
FORMATS: dict[str, str] = {
    "brat": "brat",
    "coco": "coco",
    "conll2003": "conll2003",
    "ctm": "ctm",
    "cvat": "cvat_images",
    "datumaro": "datumaro",
    "doccano": "doccano",
    "fiftyone": "fiftyone",
    "jsonl": "json_lines",
    "label-studio": "label_studio",
    "labelbox": "labelbox",
    "nemo": "nemo_manifest",
    "parquet": "parquet",
    "png-masks": "png_masks",
    "rttm": "rttm",
    "sagemaker": "sagemaker",
    "spacy": "spacy_docbin",
    "srt": "srt",
    "supervision": "supervision",
    "textgrid": "textgrid",
    "voc": "pascal_voc",
    "webvtt": "webvtt",
    "yolo": "yolo_detection",
    "yolo-seg": "yolo_segmentation",
}


def format_named(name: str) -> Format:
    """The format of this name.

    Raises:
        ConfigError: there is none.
    """
    if name not in FORMATS:
        raise ConfigError(f"unknown format '{name}'; choose one of: {', '.join(FORMATS)}")
    return cast(Format, import_module(f"pipelines.formats.{FORMATS[name]}"))
