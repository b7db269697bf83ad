"""Writes labels as the regions of a Label Studio project, under its own names."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import assert_never

from models.types import Annotation, Box, Mask, Polygon, TextSpan, TimeSpan, WholeItem
from pipelines.formats.characters import clean
from pipelines.formats.exported import LeftOut, certainty, objects
from pipelines.formats.extents import image_size_hw
from pipelines.formats.label_studio.binding import Binding
from pipelines.formats.label_studio.interface import Control
from pipelines.formats.label_studio.outlets import ChoiceOutlet, Outlet
from pipelines.formats.label_studio.shapes import Value, drawn
from pipelines.formats.results import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """One entry of a prediction's ``result``; ``medium`` says how large or how long the whole is."""

    id: str
    annotation: Annotation
    control: Control
    kind: str
    labels: tuple[str, ...] = ()
    value: Value
    medium: Value = field(default_factory=dict)

    def to_json(self, *, to_name: str, meta: Value) -> dict[str, object]:
        score, score_kind = certainty(self.annotation)
        labels = {self.kind: list(self.labels)} if self.labels else {}
        return {
            "id": clean(self.id),
            "type": self.kind,
            "from_name": self.control.name,
            "to_name": to_name,
            "value": {**self.value, **labels},
            **self.medium,
            "score": share(score),
            "meta": {**_attributes(self.annotation), "score_kind": score_kind, **meta},
        }


def share(number: float) -> float:
    """A number in [0, 1]; one that is none counts as 0."""
    return 0.0 if math.isnan(number) else min(max(number, 0.0), 1.0)


def regions(binding: Binding, result: Result, *, text: str | None, left_out: LeftOut) -> Iterator[Region]:
    """The regions of one result, labels of the whole item last; what the interface cannot show is counted.

    Args:
        text: of a text, as the model counted it.
    """
    whole = list[Annotation]()
    texts = list[tuple[float, Annotation]]()
    for annotation, parent in objects(result):
        match annotation.geometry:
            case WholeItem():
                whole.append(annotation)
            case TimeSpan() if parent and isinstance(parent.geometry, TimeSpan) and parent.text is not None:
                left_out["words of a transcribed span"] += 1
            case Box() | Polygon() | Mask() as shape:
                if found := _offered(binding, annotation, left_out):
                    yield from _on_image(*found, annotation, shape, size_hw=image_size_hw(result), left_out=left_out)
            case TextSpan() as span:
                if found := _offered(binding, annotation, left_out):
                    yield from _on_text(*found, annotation, span, text=text, left_out=left_out)
            case TimeSpan() as span if math.isfinite(span.start_s) and math.isfinite(span.end_s):
                texts.append((span.start_s, annotation))
                if found := _offered(binding, annotation, left_out):
                    yield from _on_audio(*found, annotation, span, said=binding.said, duration_s=result.duration_s)
            case TimeSpan():
                left_out["spans whose times are no numbers"] += 1
            case _:
                assert_never(annotation.geometry)
    if binding.transcript:
        yield from _transcript(binding.transcript, texts)
    yield from _chosen(binding, whole, left_out)


def _offered(binding: Binding, annotation: Annotation, left_out: LeftOut) -> tuple[Outlet, str] | None:
    found = binding.outlet(annotation.geometry, annotation.label)
    if found is None:
        left_out["labels that the interface does not offer"] += 1
    return found


def _labelled(
    outlet: Outlet, label: str, annotation: Annotation, value: Value, *, medium: Value | None = None, part: int = 0
) -> Region:
    return Region(
        id=f"{annotation.id}.part{part}" if part else annotation.id,
        annotation=annotation,
        control=outlet.control,
        kind=outlet.control.kind,
        labels=(label,),
        value=value,
        medium=medium or {},
    )


def _on_image(
    outlet: Outlet,
    label: str,
    annotation: Annotation,
    shape: Box | Polygon | Mask,
    *,
    size_hw: tuple[int, int] | None,
    left_out: LeftOut,
) -> Iterator[Region]:
    size_hw = shape.size_hw if isinstance(shape, Mask) else size_hw
    if size_hw is None:
        left_out["shapes in images of unknown size"] += 1
        return
    values = drawn(shape, outlet.shape, size_hw=size_hw) if min(size_hw) > 0 else []
    if not values:
        left_out["shapes without any area inside the image"] += 1
    height, width = size_hw
    medium = {"original_width": width, "original_height": height, "image_rotation": 0}
    for part, value in enumerate(values):
        region = _labelled(outlet, label, annotation, value, medium=medium, part=part)
        if tool := outlet.tool:
            yield replace(region, control=tool, kind=tool.kind, labels=())
        yield region


def _on_text(
    outlet: Outlet, label: str, annotation: Annotation, span: TextSpan, *, text: str | None, left_out: LeftOut
) -> Iterator[Region]:
    if 0 <= span.start < span.end <= (span.end if text is None else len(text)):
        marked = {} if text is None else {"text": clean(text[span.start : span.end])}
        yield _labelled(outlet, label, annotation, {"start": span.start, "end": span.end, **marked})
    else:
        left_out["spans that are empty or not within the text"] += 1


def _on_audio(
    outlet: Outlet,
    label: str,
    annotation: Annotation,
    span: TimeSpan,
    *,
    said: Control | None,
    duration_s: float | None,
) -> Iterator[Region]:
    """A labelled span, and what is said in it: Label Studio takes two entries of one id for one region."""
    start, end = (min(max(at, 0.0), duration_s or math.inf) for at in (span.start_s, span.end_s))
    place = {"start": start, "end": end, "channel": 0}
    length = {} if duration_s is None else {"original_length": duration_s}
    region = _labelled(outlet, label, annotation, place, medium=length)
    yield region
    if annotation.text is not None and said is not None:
        heard = {**place, "text": [clean(annotation.text)]}
        yield replace(region, control=said, kind="textarea", labels=(), value=heard)


def _transcript(control: Control, texts: Sequence[tuple[float, Annotation]]) -> Iterator[Region]:
    """What is said in the whole recording, in the order of the times; as sure as the least sure span of it."""
    spoken = [annotation for _, annotation in sorted(texts, key=itemgetter(0)) if (annotation.text or "").strip()]
    if spoken:
        heard = clean(" ".join((annotation.text or "").strip() for annotation in spoken))
        least = min(spoken, key=_certainty)
        yield Region(id="transcript", annotation=least, control=control, kind="textarea", value={"text": [heard]})


def _chosen(binding: Binding, whole: list[Annotation], left_out: LeftOut) -> Iterator[Region]:
    """Labels of the whole item, of which Label Studio holds all of a control as one, as sure as the least sure.

    A control that takes one choice alone gets the surest.
    """
    chosen = defaultdict[str, list[tuple[ChoiceOutlet, str, Annotation]]](list)
    for annotation in sorted(whole, key=_certainty, reverse=True):
        if found := binding.choice(annotation.label):
            chosen[found[0].control.name].append((*found, annotation))
        else:
            left_out["labels that the interface does not offer"] += 1
    for choices in chosen.values():
        control = choices[0][0].control
        taken = choices if control.is_multiple else choices[:1]
        if len(choices) > len(taken):
            left_out["choices beyond the only one that the interface takes"] += len(choices) - len(taken)
        labels = tuple(dict.fromkeys(label for _, label, _ in taken))
        least = taken[-1][2]
        yield Region(id=least.id, annotation=least, control=control, kind="choices", labels=labels, value={})


def _certainty(annotation: Annotation) -> float:
    return share(certainty(annotation)[0])


def _attributes(annotation: Annotation) -> dict[str, object]:
    """What else the model says of an annotation, and its own score where that is not the one written."""
    found: dict[str, object] = {} if annotation.confidence is None else {"model_score": share(annotation.score)}
    for name, value in annotation.attributes.items():
        if isinstance(value, str):
            found[clean(name)] = clean(value)
        elif math.isfinite(value):
            found[clean(name)] = value
    return found
