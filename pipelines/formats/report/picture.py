"""Makes an image of a report small and puts its boxes, polygons and masks over it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from models.geometry import decode_mask, mask_box
from models.media import MediaLimits
from models.media.image import decode
from models.types import Annotation, Mask
from pipelines.formats.report.chips import Chip, place
from pipelines.formats.report.colours import Colour

SIDE_PX = 480
_OUTLINE_PX = 2
_ALPHA_INSIDE, _ALPHA_OUTLINE = 0.30, 0.65


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One label over an image, in pixels of the original image.

    Attributes:
        points: of a polygon, as SVG writes them; "" for others.
        overlay: of a mask, a PNG as a data URI that fills the extent; "" for others.
        is_refined: another shape was made from this one and shows the object better.
    """

    annotation: Annotation
    colour: Colour
    x: float
    y: float
    width: float
    height: float
    points: str = ""
    overlay: str = ""
    is_refined: bool = False

    @property
    def xyxy(self) -> tuple[float, float, float, float]:
        return self.x, self.y, self.x + self.width, self.y + self.height


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """What is written next to an object: its label, and the lowest score of the shapes that outline it."""

    shape: Shape
    score: float
    chip: Chip


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A thumbnail as a data URI, the size of its original in pixels, the shapes over it and their names."""

    uri: str
    width: int
    height: int
    shapes: list[Shape]
    names: list[Name]


def picture(
    data: bytes, annotations: Sequence[Annotation], colours: Mapping[str, Colour], limits: MediaLimits
) -> Picture:
    """The picture of an encoded image, EXIF orientation applied.

    Raises:
        ItemError: the image cannot be decoded.
    """
    image_rgb = decode(data, limits)
    height, width = image_rgb.shape[:2]
    shapes = _shapes(annotations, colours)
    return Picture(
        uri=_thumbnail(image_rgb),
        width=width,
        height=height,
        shapes=shapes,
        names=_names(shapes, size_hw=(height, width)),
    )


def data_uri(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"


def _thumbnail(image_rgb: np.ndarray) -> str:
    small, file = Image.fromarray(image_rgb), BytesIO()
    small.thumbnail((SIDE_PX, SIDE_PX))
    small.save(file, "JPEG", quality=80, optimize=True)
    return data_uri("image/jpeg", file.getvalue())


def _shapes(annotations: Sequence[Annotation], colours: Mapping[str, Colour]) -> list[Shape]:
    """Large shapes first, so that small ones stay on top."""
    parents = {annotation.parent_id for annotation in annotations}
    shapes = [_shape(a, colours[a.label], is_refined=a.id in parents) for a in annotations]
    return sorted((shape for shape in shapes if shape), key=lambda shape: -shape.width * shape.height)


def _names(shapes: Sequence[Shape], *, size_hw: tuple[int, int]) -> list[Name]:
    """One name for each object: the shapes made from a shape leave it to that one."""
    scores: dict[str | None, float] = {shape.annotation.id: shape.annotation.score for shape in shapes}
    named = [shape for shape in shapes if shape.annotation.parent_id not in scores]
    for shape in shapes:
        parent_id = shape.annotation.parent_id
        if parent_id in scores:
            scores[parent_id] = min(scores[parent_id], shape.annotation.score)
    chips = place([s.xyxy for s in named], [f"{s.annotation.label} 0.00" for s in named], size_hw=size_hw)
    return [
        Name(shape=shape, score=scores[shape.annotation.id], chip=chip)
        for shape, chip in zip(named, chips, strict=True)
    ]


def _shape(annotation: Annotation, colour: Colour, *, is_refined: bool) -> Shape | None:
    """None for a label without a place in the image, or with an empty one."""
    points = overlay = ""
    match annotation.geometry:
        case Mask() as mask:
            bitmap = decode_mask(mask)
            box = mask_box(bitmap)
            if box is None:
                return None
            overlay, box = _overlay(bitmap, box, colour)
        case polygon if polygon.kind == "polygon":
            corners = np.array(polygon.points_xy)  # (n, 2)
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
            box = (*corners.min(axis=0), *corners.max(axis=0))
        case box if box.kind == "box":
            box = box.xyxy
        case _:
            return None
    x1, y1, x2, y2 = (float(side) for side in box)
    return Shape(
        annotation=annotation,
        colour=colour,
        x=x1,
        y=y1,
        width=x2 - x1,
        height=y2 - y1,
        points=points,
        overlay=overlay,
        is_refined=is_refined,
    )


def _overlay(
    bitmap: np.ndarray, box_xyxy: tuple[float, float, float, float], colour: Colour
) -> tuple[str, tuple[float, float, float, float]]:
    """A mask as a translucent PNG with a stronger outline, at the thumbnail's scale, and the pixels that it covers."""
    x1, y1, x2, y2 = (int(side) for side in box_xyxy)
    scale = SIDE_PX / max(bitmap.shape)
    size = (max(round((x2 - x1) * scale), 1), max(round((y2 - y1) * scale), 1))
    inside = Image.fromarray(bitmap[y1:y2, x1:x2].astype(np.uint8) * 255).resize(size, Image.Resampling.BICUBIC)
    inside = ImageOps.expand(inside, border=_OUTLINE_PX, fill=0)
    kernel = ImageFilter.MinFilter(2 * _OUTLINE_PX + 1)
    covered, core = np.asarray(inside, dtype=np.float32), np.asarray(inside.filter(kernel), dtype=np.float32)
    alpha = covered * _ALPHA_INSIDE + (covered - core) * _ALPHA_OUTLINE  # (h, w), 0..255
    tinted = Image.new("RGBA", inside.size, colour.fill)
    tinted.putalpha(Image.fromarray(alpha.astype(np.uint8) & 0xF0))  # 16 levels compress to a third
    file, margin = BytesIO(), _OUTLINE_PX / scale
    tinted.save(file, "PNG", optimize=True)
    return data_uri("image/png", file.getvalue()), (x1 - margin, y1 - margin, x2 + margin, y2 + margin)
