"""Writes masks as PNG images, one of classes and one of instances for each image, and says in JSON what they show."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import numpy as np
from PIL import Image

from models.geometry import decode_mask
from models.rings import filled
from models.types import Annotation, Mask, Polygon, Task
from pipelines.formats.exported import Exported, LeftOut, certainty, labelled, objects
from pipelines.formats.extents import image_size_hw
from pipelines.formats.report.colours import colours
from pipelines.formats.results import Result
from pipelines.formats.stems import Stem, Stems

TASKS: frozenset[Task] = frozenset({"segmentation"})

_MOST_OF_8_BITS = 254  # 0 is the background, and training code takes 255 for "do not care"
_MOST_OF_16_BITS = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class Painted:
    """An object that is in the picture under its number, or hidden there."""

    number: int
    annotation: Annotation
    area_px: int
    hidden_px: int


def write(entries: Iterable[Exported], *, labels: Sequence[str], out: Path) -> LeftOut:
    """Write what each pixel shows.

    - ``classes/STEM.png``: the number of the class of each pixel, 0 where there is none; 8 bits with a palette, or 16
      bits of grey if there are more than 254 labels.
    - ``instances/STEM.png``: the number of the object of each pixel, 16 bits of grey, 0 where there is none.
    - ``classes.json``: the name and colour of each class number, from 1 in the order of the labels.
    - ``images.jsonl``: a line for each image: its files, its id, uri and route, and its objects by number: class,
      annotation, certainty and whether that is calibrated (``confidence``) or the model's own (``score``), attributes,
      and how many pixels it has and how many of these lie hidden.

    A pixel has one object. The surest is painted last and lies on top; of equally sure ones, the first. What it hides
    is counted as left out. A polygon has the pixels whose centres it encloses. An image of which nothing is known but
    its size is all background.
    """
    left_out = LeftOut()
    class_ids = {label: number for number, label in enumerate(labels, start=1)}
    palette = _palette(labels, out / "classes.json")
    with Stems(".png") as stems, (out / "images.jsonl").open("w", encoding="ascii") as images:
        for entry in labelled(entries, left_out):
            size_hw = image_size_hw(entry.result)
            if size_hw is None:
                left_out["items whose image size is not known"] += 1
                continue
            stem = stems.claim(entry.item)
            if not stem.is_new:
                left_out["further results of an image"] += 1
                continue
            instances, painted = _paint(entry.result, class_ids, size_hw=size_hw, left_out=left_out)
            _save(Image.fromarray(instances), out / "instances", stem)
            _save(_classes(instances, painted, class_ids, palette=palette), out / "classes", stem)
            images.write(json.dumps(_image(entry, stem, painted, class_ids)) + "\n")
    return left_out


def _palette(labels: Sequence[str], file: Path) -> bytes | None:
    """Write the classes; what they look like in a PNG of 8 bits, None if these are too few."""
    fills = [colour.fill for colour in colours(labels).values()]
    numbered = enumerate(zip(labels, fills, strict=True), start=1)
    classes = [{"number": number, "name": label, "colour": fill} for number, (label, fill) in numbered]
    file.write_text(json.dumps(classes, indent=1) + "\n", encoding="ascii")
    return bytes.fromhex("".join(["000000", *(fill[1:] for fill in fills)])) if len(fills) <= _MOST_OF_8_BITS else None


def _paint(
    result: Result, class_ids: Mapping[str, int], *, size_hw: tuple[int, int], left_out: LeftOut
) -> tuple[np.ndarray, list[Painted]]:
    """The number of the object of each pixel, (H, W) uint16, and the objects in the order of their numbers."""
    instances = np.zeros(size_hw, dtype=np.uint16)
    areas = list[tuple[int, Annotation, int]]()
    for number, annotation in _from_below(result, class_ids, left_out):
        pixels = _pixels(annotation, size_hw=size_hw)
        if pixels is None:
            left_out["masks of another size than their image"] += 1
        elif not pixels.any():
            left_out["objects without any area inside the image"] += 1
        else:
            instances[pixels] = number
            areas.append((number, annotation, int(np.count_nonzero(pixels))))
    shown = np.bincount(instances.ravel(), minlength=_MOST_OF_16_BITS + 1).tolist()
    painted = [
        Painted(number=number, annotation=annotation, area_px=area, hidden_px=area - shown[number])
        for number, annotation, area in sorted(areas, key=itemgetter(0))
    ]
    if hidden := sum(one.hidden_px for one in painted):
        left_out["pixels hidden under surer objects"] += hidden
    return instances, painted


def _from_below(result: Result, class_ids: Mapping[str, int], left_out: LeftOut) -> list[tuple[int, Annotation]]:
    """The outlined objects with their numbers, in the order to paint them."""
    outlined = list[Annotation]()
    for annotation, _ in objects(result):
        if not isinstance(annotation.geometry, (Mask, Polygon)):
            left_out["objects without an outline"] += 1
        elif len(outlined) == _MOST_OF_16_BITS or class_ids[annotation.label] > _MOST_OF_16_BITS:
            left_out["objects beyond the 65,535th, or of a class beyond it"] += 1
        else:
            outlined.append(annotation)
    return sorted(enumerate(outlined, start=1), key=lambda pair: (certainty(pair[1])[0], -pair[0]))


def _pixels(annotation: Annotation, *, size_hw: tuple[int, int]) -> np.ndarray | None:
    """(H, W) bool; None for a mask that does not fit."""
    match annotation.geometry:
        case Mask() as mask:
            return decode_mask(mask) if mask.size_hw == size_hw else None
        case Polygon() as polygon:
            return filled(np.array(polygon.points_xy), size_hw=size_hw)
        case _:
            raise AssertionError("only outlined objects are painted")


def _classes(
    instances: np.ndarray, painted: Sequence[Painted], class_ids: Mapping[str, int], *, palette: bytes | None
) -> Image.Image:
    class_of = np.zeros(_MOST_OF_16_BITS + 1, dtype=np.uint16 if palette is None else np.uint8)
    for one in painted:
        class_of[one.number] = class_ids[one.annotation.label]
    image = Image.fromarray(class_of[instances])
    if palette is not None:
        image.putpalette(palette)
    return image


def _save(image: Image.Image, folder: Path, stem: Stem) -> None:
    file = folder / f"{stem.name}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file)


def _image(entry: Exported, stem: Stem, painted: Sequence[Painted], class_ids: Mapping[str, int]) -> dict[str, object]:
    return {
        "classes": f"classes/{stem.name}.png",
        "instances": f"instances/{stem.name}.png",
        "id": entry.result.id,
        "uri": entry.item.uri,
        "route": entry.result.decision.route if entry.result.decision else None,
        "objects": [_object(one, class_ids[one.annotation.label]) for one in painted],
    }


def _object(painted: Painted, class_id: int) -> dict[str, object]:
    score, score_kind = certainty(painted.annotation)
    return {
        "number": painted.number,
        "class": class_id,
        "annotation_id": painted.annotation.id,
        "score": score,
        "score_kind": score_kind,
        "text": painted.annotation.text,
        "attributes": painted.annotation.attributes,
        "area_px": painted.area_px,
        "hidden_px": painted.hidden_px,
    }
