"""Writes boxes, polygons, masks and tags as CVAT reads them: "CVAT for images 1.1".

Reference: https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/, cvat/apps/dataset_manager/formats/cvat.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from models.geometry import decode_mask, mask_box
from models.types import Annotation, Box, Mask, Polygon, Task, WholeItem
from pipelines.formats.characters import label_of, labels_of, name_of
from pipelines.formats.exported import Exported, LeftOut, certainty, labelled, objects
from pipelines.formats.extents import image_size_hw

TASKS: frozenset[Task] = frozenset({"detection", "segmentation"})

_ATTRIBUTES = ("score", "score_kind")
_ATTRIBUTE = """\
            <attribute>
              <name>{}</name>
              <mutable>False</mutable>
              <input_type>text</input_type>
              <default_value></default_value>
              <values></values>
            </attribute>
"""


def write(entries: Iterable[Exported], *, labels: Sequence[str], out: Path) -> LeftOut:
    """Write annotations.xml, and labels.json to make the CVAT task from ("Raw" in its label constructor).

    An image's name is its item's id, by which CVAT finds the frame; its number is used only where no frame has that
    name. Coordinates are pixels, floats, origin top-left, as ours. A mask is cut to its box and run-length encoded row
    by row, zeros first. A label of the whole image is a tag. The certainty is in the attribute ``score``, which CVAT
    keeps if the task's labels have it (it does with labels.json); ``score_kind`` says whether it is a calibrated
    "confidence" or the model's "score". Both are texts, since CVAT's numbers need a step.

    What XML cannot carry is written as U+FFFD in labels and as in a URL in names. Without a known size an image has no
    ``width`` and ``height``.
    """
    left_out = LeftOut()
    names = labels_of(labels)
    (out / "labels.json").write_text(json.dumps([_label(name) for name in names], indent=1) + "\n", encoding="ascii")
    with (out / "annotations.xml").open("w", encoding="utf-8", newline="\n") as document:
        document.write(_head(names))
        for number, entry in enumerate(labelled(entries, left_out)):
            document.writelines(_image(entry, number, left_out))
        document.write("</annotations>\n")
    return left_out


def _label(name: str) -> dict[str, object]:
    attributes = [
        {"name": attribute, "mutable": False, "input_type": "text", "default_value": "", "values": [""]}
        for attribute in _ATTRIBUTES
    ]
    return {"name": name, "type": "any", "attributes": attributes}


def _head(names: Sequence[str]) -> str:
    attributes = "".join(map(_ATTRIBUTE.format, _ATTRIBUTES))
    labels = "".join(
        f"        <label>\n          <name>{_text(name)}</name>\n          <attributes>\n{attributes}"
        "          </attributes>\n        </label>\n"
        for name in names
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n  <meta>\n    <task>\n'
        "      <name>prelabel</name>\n      <mode>annotation</mode>\n"
        f"      <labels>\n{labels}      </labels>\n    </task>\n  </meta>\n"
    )


def _image(entry: Exported, number: int, left_out: LeftOut) -> Iterator[str]:
    size_hw = image_size_hw(entry.result)
    size = {"width": size_hw[1], "height": size_hw[0]} if size_hw else {}
    yield f"  <image{_attributes(id=number, name=name_of(entry.item.id), **size)}>\n"
    for annotation, _ in objects(entry.result):
        yield _object(annotation, left_out)
    yield "  </image>\n"


def _object(annotation: Annotation, left_out: LeftOut) -> str:
    match annotation.geometry:
        case Box(xyxy=xyxy):
            corners = dict(zip(("xtl", "ytl", "xbr", "ybr"), map(_number, xyxy), strict=True))
            return _element("box", annotation, **corners)
        case Polygon(points_xy=points) if len(points) > 2:
            return _element("polygon", annotation, points=";".join(f"{_number(x)},{_number(y)}" for x, y in points))
        case Polygon():
            left_out["polygons of fewer than three points"] += 1
        case Mask() as mask:
            if encoded := _encoded(mask):
                return _element("mask", annotation, **encoded)
            left_out["masks without a pixel"] += 1
        case WholeItem():
            return _element("tag", annotation)
        case _:
            left_out["labels that are not in an image"] += 1
    return ""


def _encoded(mask: Mask) -> dict[str, object] | None:
    """CVAT's own run lengths: of the mask's box alone, row by row, zeros first."""
    bitmap = decode_mask(mask)
    box = mask_box(bitmap)
    if box is None:
        return None
    left, top, right, bottom = map(int, box)
    pixels = bitmap[top:bottom, left:right].ravel()
    starts = np.flatnonzero(np.diff(pixels, prepend=False))  # of the runs but the first, which is of zeros
    runs = np.diff(starts, prepend=0, append=pixels.size).tolist()
    rle = ", ".join(map(str, runs))
    return {"rle": rle, "left": left, "top": top, "width": right - left, "height": bottom - top}


def _element(tag: str, annotation: Annotation, **geometry: object) -> str:
    score, kind = certainty(annotation)
    place = {} if tag == "tag" else {"occluded": 0, **geometry, "z_order": 0}
    return (
        f"    <{tag}{_attributes(label=label_of(annotation.label), source='auto', **place)}>\n"
        f'      <attribute name="score">{score}</attribute>\n'
        f'      <attribute name="score_kind">{kind}</attribute>\n'
        f"    </{tag}>\n"
    )


def _attributes(**values: object) -> str:
    return "".join(f" {name}={quoteattr(str(value))}" for name, value in values.items())


def _text(text: str) -> str:
    return escape(text, {"\r": "&#13;"})  # XML readers take a bare one for "\n"


def _number(value: float) -> str:
    return str(round(value, 3))
