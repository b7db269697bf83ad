"""Writes labels as the regions of Label Studio."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from models.types import Annotation, Box, Mask, Polygon, TextSpan, TimeSpan, WholeItem
from pipelines.formats.characters import clean, label_of
from pipelines.formats.exported import Exported, LeftOut, certainty, objects
from pipelines.formats.extents import image_size_hw
from pipelines.formats.label_studio.brush import brush_rle

Value = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """One entry of a prediction's ``result``; ``medium`` says how large or how long the whole is."""

    annotation: Annotation
    kind: str
    labels: tuple[str, ...] = ()
    value: Value
    medium: Value = field(default_factory=dict)

    def to_json(self, *, to_name: str) -> dict[str, object]:
        score, score_kind = certainty(self.annotation)
        labels = {self.kind: list(self.labels)} if self.labels else {}
        return {
            "id": clean(self.annotation.id),
            "type": self.kind,
            "from_name": self.kind,
            "to_name": to_name,
            "value": {**self.value, **labels},
            **self.medium,
            "score": score,
            "meta": {"score_kind": score_kind},
        }


def regions(entry: Exported, left_out: LeftOut) -> Iterator[Region]:
    """The regions of one result; what Label Studio cannot show is counted."""
    whole = list[Annotation]()
    for annotation, parent in objects(entry.result):
        labels = (label_of(annotation.label),)
        match annotation.geometry:
            case WholeItem():
                whole.append(annotation)
            case Box() | Polygon() | Mask():
                yield from _on_image(annotation, entry, left_out)
            case TextSpan(start=start, end=end):
                span = {"start": start, "end": end, "text": clean(entry.text or "")[start:end]}
                yield Region(annotation=annotation, kind="labels", labels=labels, value=span)
            case TimeSpan() if parent and isinstance(parent.geometry, TimeSpan) and parent.text is not None:
                left_out["words of a transcribed span"] += 1
            case TimeSpan(start_s=start_s, end_s=end_s):
                yield from _spoken(annotation, {"start": start_s, "end": end_s, "channel": 0}, entry.result.duration_s)
    if whole:
        yield _choices(whole)


def _on_image(annotation: Annotation, entry: Exported, left_out: LeftOut) -> Iterator[Region]:
    size_hw = image_size_hw(entry.result)
    if size_hw is None:
        left_out["shapes in images of unknown size"] += 1
    elif shape := _shape(annotation, size_hw=size_hw):
        height, width = size_hw
        size = {"original_width": width, "original_height": height, "image_rotation": 0}
        kind, value = shape
        yield Region(annotation=annotation, kind=kind, labels=(label_of(annotation.label),), value=value, medium=size)
    else:
        left_out["polygons of fewer than three points, and masks without a pixel"] += 1


def _shape(annotation: Annotation, *, size_hw: tuple[int, int]) -> tuple[str, Value] | None:
    height, width = size_hw
    match annotation.geometry:
        case Box(xyxy=(x1, y1, x2, y2)):
            left, right = _percent(x1, width), _percent(x2, width)
            top, bottom = _percent(y1, height), _percent(y2, height)
            return "rectanglelabels", {
                "x": left,
                "y": top,
                "width": right - left,
                "height": bottom - top,
                "rotation": 0,
            }
        case Polygon(points_xy=points) if len(points) > 2:
            percents = [[_percent(x, width), _percent(y, height)] for x, y in points]
            return "polygonlabels", {"points": percents, "closed": True}
        case Mask() as mask if rle := brush_rle(mask):
            return "brushlabels", {"format": "rle", "rle": rle}
        case _:
            return None


def _percent(pixels: float, side: int) -> float:
    """A place in percent of the image's side; what lies outside is put at the edge, for Label Studio refuses it."""
    return min(max(100.0 * pixels / side, 0.0), 100.0)


def _spoken(annotation: Annotation, span: Value, duration_s: float | None) -> Iterator[Region]:
    """A labelled span, and what is said in it: Label Studio takes two entries of one id for one region."""
    length = {} if duration_s is None else {"original_length": duration_s}
    labels = (label_of(annotation.label),)
    yield Region(annotation=annotation, kind="labels", labels=labels, value=span, medium=length)
    if annotation.text is not None:
        said = {**span, "text": [clean(annotation.text)]}
        yield Region(annotation=annotation, kind="textarea", value=said, medium=length)


def _choices(annotations: list[Annotation]) -> Region:
    """All labels of the whole item, which Label Studio holds as one; as sure as the least sure of them."""
    least = min(annotations, key=lambda annotation: certainty(annotation)[0])
    labels = tuple(dict.fromkeys(label_of(annotation.label) for annotation in annotations))
    return Region(annotation=least, kind="choices", labels=labels, value={})
