"""Gives what a human left as it was shown the form in which the model had said it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from models.geometry import mask_ious
from models.types import Annotation, Mask, TimeSpan
from pipelines.corrections.matching import is_same
from pipelines.formats.exported import LeftOut
from pipelines.formats.label_studio.binding import Binding
from pipelines.formats.label_studio.prediction import as_json
from pipelines.formats.label_studio.regions import Region, regions
from pipelines.formats.results import Result

# The editor draws a brush stroke anew at the screen's size and scales it up to the image's: even one that nobody
# touched comes back with other pixels along its edge.
_SAME_IOU = 0.95


class Reads(Protocol):
    """``reading.read_annotations``."""

    def __call__(
        self,
        binding: Binding,
        result: Sequence[Mapping[str, Any]],
        *,
        text: str | None,
        size_hw: tuple[int, int] | None,
    ) -> tuple[Annotation, ...]: ...


def with_kept(
    binding: Binding, found: Sequence[Annotation], pre_label: Result, *, text: str | None, read: Reads
) -> list[Annotation]:
    """A human's annotations, in which those that are as they were shown are the model's own.

    With them comes back what was not shown because they say it: the words of a transcribed span, and the box that a
    mask was made from. A mask whose outlines were shown is kept where all of its parts are. What was left out for
    other reasons, such as labels that the project does not offer, stays out: the human has not seen it.
    """
    shown = [one for one in regions(binding, pre_label, text=text, left_out=LeftOut()) if one.kind != "choices"]
    written = as_json(shown, pre_label, to_name=binding.source.name)
    as_shown = {one.id: one for one in read(binding, written, text=text, size_hw=pre_label.size_hw)}
    here = {one.id: one for one in found}
    for region in shown:
        if _is_transcript(region) and region.id in here and here[region.id].text == as_shown[region.id].text:
            return _with_all_speech(found, pre_label)
    parts = defaultdict[str, set[str]](set)
    for region in shown:
        parts[region.annotation.id].add(region.id)
    is_kept = {
        whole: all(part in here and part in as_shown and _is_kept(as_shown[part], here[part]) for part in ids)
        for whole, ids in parts.items()
    }
    kept = {region.id: region.annotation for region in shown if is_kept[region.annotation.id]}
    return _restored(found, kept, pre_label)


def _is_kept(shown: Annotation, found: Annotation) -> bool:
    match shown.geometry, found.geometry:
        case Mask() as ours, Mask() as theirs:
            is_near = float(mask_ious([ours], [theirs])[0, 0]) >= _SAME_IOU
            return is_near and shown.label == found.label
        case _:
            return is_same(shown, found)


def _is_transcript(region: Region) -> bool:
    return region.kind == "textarea" and "start" not in region.value


def _with_all_speech(found: Sequence[Annotation], pre_label: Result) -> list[Annotation]:
    others = [one for one in found if not isinstance(one.geometry, TimeSpan)]
    return others + [one for one in pre_label.annotations if isinstance(one.geometry, TimeSpan)]


def _restored(found: Sequence[Annotation], kept: Mapping[str, Annotation], pre_label: Result) -> list[Annotation]:
    mine = dict[str, Annotation]()
    for annotation in found:
        own = kept.get(annotation.id, annotation)
        mine[own.id] = own  # of a mask in parts the last one says again what the first one said
    ids = {annotation.id for annotation in kept.values()}
    parents = {one.parent_id for one in kept.values() if one.geometry.kind in ("mask", "polygon")}
    implied = (one for one in pre_label.annotations if _is_implied(one, ids, parents) and one.id not in mine)
    return [*mine.values(), *implied]


def _is_implied(annotation: Annotation, kept: set[str], parents: set[str | None]) -> bool:
    """Whether what was kept says this, too, though it was not shown."""
    is_word = isinstance(annotation.geometry, TimeSpan) and annotation.parent_id in kept
    return is_word or (annotation.geometry.kind == "box" and annotation.id in parents)
