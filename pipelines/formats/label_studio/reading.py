"""Reads what a human left in Label Studio back as annotations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from models.types import Annotation, TextSpan, TimeSpan, WholeItem
from pipelines.formats.exported import LeftOut
from pipelines.formats.label_studio import entries
from pipelines.formats.label_studio.binding import Binding
from pipelines.formats.label_studio.entries import Entry
from pipelines.formats.label_studio.kept import with_kept
from pipelines.formats.results import Result

_SURE = 1.0  # a human's label has no score


def read_annotations(
    binding: Binding,
    result: Sequence[Mapping[str, Any]],
    *,
    text: str | None = None,
    size_hw: tuple[int, int] | None = None,
    pre_label: Result | None = None,
    left_out: LeftOut | None = None,
) -> tuple[Annotation, ...]:
    """The regions of an annotation's ``result`` that lie in the source of the binding, with their ids.

    Turned rectangles and ellipses become polygons, brush strokes masks. Entries of one id are one region: its place,
    its labels, and what is said in it; each label beyond the first has an annotation of its own. Labels are the
    model's again where one of them is written so, and only one.

    Args:
        text: the text, where the item is one.
        size_hw: an image's size, where a region does not say it.
        pre_label: what the human was shown. What they left as it was comes back as the model had said it: a mask that
            was shown as a box is the mask, the words of a transcribed span are there again.
        left_out: counts, in words, what was not read.
    """
    left_out = LeftOut() if left_out is None else left_out
    found = list[Annotation]()
    for region_id, group in _regions(binding, result, left_out).items():
        region = _Region(
            binding=binding,
            id=region_id,
            entries=group,
            text=text,
            size_hw=size_hw or (pre_label and pre_label.size_hw),
            duration_s=pre_label.duration_s if pre_label else None,
        )
        found += region.read(left_out)
    found = _apart(found)
    return tuple(with_kept(binding, found, pre_label, text=text, read=read_annotations) if pre_label else found)


def _regions(binding: Binding, result: Sequence[Mapping[str, Any]], left_out: LeftOut) -> dict[str, list[Entry]]:
    """Entries by the region that they belong to."""
    groups = dict[str, list[Entry]]()
    for number, entry in enumerate(result):
        if entry.get("type") == "relation":
            left_out["relations"] += 1
        elif entry.get("to_name") != binding.source.name:
            left_out["regions of other sources"] += 1
        else:
            groups.setdefault(str(entry.get("id") or f"region {number}"), []).append(entry)
    return groups


def _apart(found: Sequence[Annotation]) -> list[Annotation]:
    """The annotations under ids that differ."""
    taken = set[str]()

    def free(name: str) -> str:
        number = 1
        while (tried := name if number == 1 else f"{name}.{number}") in taken:
            number += 1
        taken.add(tried)
        return tried

    return [replace(annotation, id=free(annotation.id)) for annotation in found]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Region:
    binding: Binding
    id: str
    entries: Sequence[Entry]
    text: str | None
    size_hw: tuple[int, int] | None
    duration_s: float | None

    def read(self, left_out: LeftOut) -> Iterator[Annotation]:
        kinds = {entries.kind_of(entry) for entry in self.entries}
        places = (entries.geometry(entry, self.binding.source.media, size_hw=self.size_hw) for entry in self.entries)
        place = next((place for place in places if place is not None), None)
        if place is None and kinds <= {"choices", "textarea"}:
            yield from self._of_whole(left_out)
        elif place is None:
            left_out["key points" if "keypoint" in kinds else "regions without a place that can be read"] += 1
        elif isinstance(place, TextSpan) and self.text is not None and place.end > len(self.text):
            left_out["spans that are not within the text"] += 1
        else:
            labels = self._labels()
            if not labels:
                left_out["regions without a label"] += 1
            for label in labels:
                yield Annotation(id=self.id, label=label, geometry=place, score=_SURE, text=self._said(place))

    def _labels(self) -> list[str]:
        labels = [
            self._meant(label, str(entry.get("from_name")))
            for entry in self.entries
            for label in entries.labels_of(entry)
        ]
        return list(dict.fromkeys(labels))

    def _meant(self, written: str, control: str) -> str:
        for outlet in (*self.binding.outlets, *self.binding.choices):
            if outlet.control.name == control:
                return outlet.vocabulary.meant(written, self.binding.labels)
        return written

    def _said(self, place: object) -> str | None:
        if isinstance(place, TextSpan):
            return self.text[place.start : place.end] if self.text is not None else None
        texts = [entries.text_of(entry) for entry in self.entries if entries.kind_of(entry) == "textarea"]
        return texts[0] if texts else None

    def _of_whole(self, left_out: LeftOut) -> Iterator[Annotation]:
        """Choices, and a transcript of the whole recording as one span of it."""
        for entry in self.entries:
            control = str(entry.get("from_name"))
            if self.binding.transcript is not None and control == self.binding.transcript.name:
                label = (self.binding.labels or ("speech",))[0]
                span = TimeSpan(start_s=0.0, end_s=entries.duration_s(entry) or self.duration_s or 0.0)
                yield Annotation(id=self.id, label=label, geometry=span, score=_SURE, text=entries.text_of(entry))
            elif choices := entries.choices_of(entry):
                for choice in choices:
                    yield Annotation(id=self.id, label=self._meant(choice, control), geometry=WholeItem(), score=_SURE)
            else:
                left_out["entries that say nothing of what the model looks for"] += 1
