"""Writes objects as boxes in Pascal VOC's layout: an XML file for each image, and a label map."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from models.types import Annotation, Task
from pipelines.formats.exported import Exported, LeftOut, certainty, labelled
from pipelines.formats.extents import Boxed, Extent, boxes, image_size_hw
from pipelines.formats.report.colours import colours
from pipelines.formats.results import Result
from pipelines.formats.stems import Stem, Stems

TASKS: frozenset[Task] = frozenset({"detection", "segmentation"})

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, section 2.2
_LINE_ENDS = {"\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}  # as they stand, a reader would make one of them of another
_UNNAMED = "unnamed"
_END = b"</annotation>\n"


def write(entries: Iterable[Exported], *, labels: Sequence[str], out: Path) -> LeftOut:
    """Write a dataset of the layout of host.robots.ox.ac.uk/pascal/VOC.

    - ``Annotations/STEM.xml``: an image and its objects; without objects where nothing was found.
    - ``ImageSets/Main/train.txt``: the stems, a line each. ``JPEGImages/`` is yours to fill: ``filename`` says how an
      image is called there, ``path`` where it is from.
    - ``labelmap.txt``: the labels as CVAT and Datumaro read them, ``label:red,green,blue::``. They take no label with a
      colon, a line end, space around it or ``#`` in front; those are left out of this file alone.

    Coordinates are whole pixels, counted from 1, first and last included, as the development kit has them: a box that
    covers an image of width w goes from 1 to w. So ``xmin`` is our x1, rounded, plus 1, and ``xmax`` our x2, rounded; a
    thinner box takes one pixel. Boxes end at the image's edges, and ``truncated`` marks those that went beyond. A mask
    or polygon is written as the box around it. A size that is not known is written as 0 × 0.

    VOC has no place for a score; it is in ``attributes``, as CVAT and Datumaro write them: ``score`` and ``score_kind``
    (``confidence``: calibrated, or ``score``: the model's own), the ``annotation_id``, the item's ``route``, and what
    else the model said. Characters that XML forbids become U+FFFD, and an empty label ``unnamed``: readers want a name.

    An image that comes again, for another task, has its objects added.
    """
    left_out = LeftOut()
    (out / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
    _write_label_map(labels, out / "labelmap.txt", left_out)
    image_set = out / "ImageSets" / "Main" / "train.txt"
    with Stems(".xml") as stems, image_set.open("w", encoding="ascii") as names:
        for entry in labelled(entries, left_out):
            stem = stems.claim(entry.item)
            objects = "".join(_object(boxed, entry.result, left_out) for boxed in boxes(entry.result, left_out))
            file = out / "Annotations" / f"{stem.name}.xml"
            file.parent.mkdir(parents=True, exist_ok=True)
            if stem.is_new:
                names.write(f"{stem.name}\n")
                file.write_bytes((_head(entry, stem) + objects).encode() + _END)
            else:
                _add(objects, file)
    return left_out


def _write_label_map(labels: Sequence[str], file: Path, left_out: LeftOut) -> None:
    colour_of = colours(labels)
    lines = dict[str, str]()
    for label in labels:
        name = _legal(label) or _UNNAMED
        if name in lines or name != name.strip() or name[0] == "#" or re.search("[:\n\r]", name):
            left_out["labels that the label map cannot name"] += 1
            continue
        channels = ",".join(str(int(colour_of[label].fill[at : at + 2], 16)) for at in (1, 3, 5))
        lines[name] = f"{name}:{channels}::\n"
    file.write_bytes("".join(["# label:color_rgb:parts:actions\n", *lines.values()]).encode())


def _head(entry: Exported, stem: Stem) -> str:
    height, width = image_size_hw(entry.result) or (0, 0)
    return (
        f"<annotation>\n  <folder>JPEGImages</folder>\n  <filename>{stem.name}{stem.suffix}</filename>\n"
        f"  <path>{_text(entry.item.uri or entry.result.id)}</path>\n"
        "  <source><database>prelabel</database></source>\n"
        f"  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>\n"
        "  <segmented>0</segmented>\n"
    )


def _object(boxed: Boxed, result: Result, left_out: LeftOut) -> str:
    xmin, ymin, xmax, ymax = _pixels(boxed.xyxy)
    attributes = "".join(
        f"      <attribute><name>{_text(name)}</name><value>{_text(value)}</value></attribute>\n"
        for name, value in _attributes(boxed.annotation, result, left_out).items()
    )
    return (
        f"  <object>\n    <name>{_text(boxed.annotation.label or _UNNAMED)}</name>\n    <pose>Unspecified</pose>\n"
        f"    <truncated>{int(boxed.is_cut)}</truncated>\n    <difficult>0</difficult>\n"
        f"    <bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox>\n"
        f"    <attributes>\n{attributes}    </attributes>\n  </object>\n"
    )


def _attributes(annotation: Annotation, result: Result, left_out: LeftOut) -> dict[str, str]:
    number, kind = certainty(annotation)
    ours = {"annotation_id": annotation.id, "score": str(number), "score_kind": kind}
    if result.decision:
        ours["route"] = result.decision.route
    if annotation.text is not None:
        ours["text"] = annotation.text
    if twins := ours.keys() & annotation.attributes.keys():
        left_out["attributes named as one of prelabel's"] += len(twins)
    return {name: str(value) for name, value in annotation.attributes.items()} | ours


def _pixels(xyxy: Extent) -> tuple[int, int, int, int]:
    """First column and row, last column and row, counted from 1."""
    x1, y1, x2, y2 = xyxy
    (first_x, last_x), (first_y, last_y) = _side(x1, x2), _side(y1, y2)
    return first_x, first_y, last_x, last_y


def _side(start: float, end: float) -> tuple[int, int]:
    first, last = math.floor(start + 0.5) + 1, math.floor(end + 0.5)
    return (first, last) if first <= last else (math.floor(start) + 1, math.floor(start) + 1)


def _add(objects: str, file: Path) -> None:
    with file.open("r+b") as xml:
        xml.seek(-len(_END), os.SEEK_END)
        xml.write(objects.encode() + _END)


def _text(value: str) -> str:
    return escape(_legal(value), _LINE_ENDS)


def _legal(value: str) -> str:
    return _FORBIDDEN.sub("\ufffd", value)
