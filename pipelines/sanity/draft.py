"""Keeps a prediction while the rules look at it: what is left of it, what was found, what that does to its signals."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, NamedTuple, TypeVar

from models.types import Annotation, Box, Mask, Polygon, Prediction, Task, TextSpan, TimeSpan, WholeItem
from pipelines.sanity.finding import Checked, Deed, Finding
from pipelines.sanity.rules import Rule, SanityRules

GeometryT = TypeVar("GeometryT", WholeItem, Box, Polygon, Mask, TextSpan, TimeSpan)


class Row(NamedTuple, Generic[GeometryT]):
    """An annotation, its place in the prediction, and its geometry by its type."""

    place: int
    annotation: Annotation
    geometry: GeometryT


class Draft:
    """One prediction between two rules.

    ``annotations`` are those that are left, by their places in the prediction. Rules say what they found through
    ``flag``, ``change`` and ``remove``; the rule's action decides what becomes of it. What is gone is not found again.
    """

    def __init__(
        self,
        prediction: Prediction,
        *,
        task: Task,
        rules: SanityRules,
        text: str | None,
        exclusive: Sequence[Mapping[str, str]],
    ) -> None:
        self.prediction, self.task, self.rules, self.text, self.exclusive = prediction, task, rules, text, exclusive
        self.annotations = dict(enumerate(prediction.annotations))
        self._findings, self._missing, self._is_changed = list[Finding](), list[float](), False
        self._rows = defaultdict[type, list[Row[Any]]](list)  # of self.annotations; empty until asked for
        self._kinds = {type(annotation.geometry) for annotation in prediction.annotations}
        self._with_id = Counter(annotation.id for annotation in prediction.annotations)
        self._parts = defaultdict[str, list[int]](list)
        for place, annotation in self.annotations.items():
            if annotation.parent_id is not None:
                self._parts[annotation.parent_id].append(place)

    def has(self, kind: type) -> bool:
        """Whether the prediction came with geometries of a kind."""
        return kind in self._kinds

    def rows(self, kind: type[GeometryT]) -> Sequence[Row[GeometryT]]:
        """What is left with geometries of a kind, in order."""
        if not self._rows:
            for place, annotation in self.annotations.items():
                geometry: Any = annotation.geometry
                self._rows[type(geometry)].append(Row(place, annotation, geometry))
        return self._rows.get(kind, [])

    def rivals(self, kind: type[GeometryT]) -> Sequence[Row[GeometryT]]:
        """What may stand for the same thing: rows that are no part of another annotation, best score first."""
        rows = [row for row in self.rows(kind) if not self.is_part(row.annotation)]
        return sorted(rows, key=lambda row: rank(row.annotation))

    def is_part(self, annotation: Annotation) -> bool:
        return annotation.parent_id is not None and self._with_id[annotation.parent_id] > 0

    def parts(self, annotation: Annotation) -> list[tuple[int, Annotation]]:
        """The annotations that are left and name this one as their parent, with their places."""
        places = self._parts.get(annotation.id, [])
        return [(place, self.annotations[place]) for place in places if place in self.annotations]

    def flag(self, rule: Rule, place: int, message: str) -> None:
        if place in self.annotations and self.rules.action(rule) != "off":
            self._note(rule, place, "flagged", message)

    def change(self, rule: Rule, place: int, message: str, *, instead: Annotation) -> None:
        if self.rules.action(rule) != "fix":
            return self.flag(rule, place, message)
        if place in self.annotations:
            self._note(rule, place, "changed", message)
            self.annotations[place], self._is_changed = instead, True
            self._rows.clear()
        return None

    def remove(self, rule: Rule, place: int, message: str, *, is_covered: bool = False) -> None:
        """Take an annotation out, and its parts along with it.

        Args:
            is_covered: whether another annotation stands for the same thing.
        """
        if self.rules.action(rule) != "fix":
            return self.flag(rule, place, message)
        if place in self.annotations and not is_covered:
            self._missing.append(self.annotations[place].score)
        self._rows.clear()
        doomed = [(place, message)]
        while doomed:
            place, message = doomed.pop()
            if place not in self.annotations:
                continue
            self._note(rule, place, "removed", message)
            gone = self.annotations.pop(place)
            self._with_id[gone.id] -= 1
            if not self._with_id[gone.id]:
                along = f"it is part of #{gone.id}, which was removed"
                doomed += [(part, along) for part in reversed(self._parts.get(gone.id, []))]
        return None

    def _note(self, rule: Rule, place: int, action: Deed, message: str) -> None:
        annotation_id = self.annotations[place].id
        self._findings.append(Finding(rule=rule, annotation_id=annotation_id, action=action, message=message))

    def checked(self) -> Checked:
        prediction, kept = self.prediction, tuple(self.annotations.values())
        if self._is_changed or len(kept) < len(prediction.annotations):
            prediction = replace(prediction, annotations=kept, signals=self._signals(kept))
        return Checked(prediction=prediction, findings=tuple(self._findings))

    def _signals(self, kept: tuple[Annotation, ...]) -> dict[str, float]:
        """The signals without what was removed: ``min_score`` over the rest, ``no_miss`` with what nothing stands for.

        What the model saw and the rules took away counts as the model's own rejects do (models/signals/), so that an
        item is not accepted as empty because its only label was odd.
        """
        signals = dict(self.prediction.signals)
        if len(kept) < len(self.prediction.annotations):
            signals.pop("min_score", None)
            if kept:
                signals["min_score"] = min(annotation.score for annotation in kept)
        if self._missing and "no_miss" in signals:
            left_over = [1.0 - score if 0.0 <= score <= 1.0 else 0.0 for score in self._missing]
            is_product = self.task == "ner"
            no_miss = signals["no_miss"]
            signals["no_miss"] = no_miss * math.prod(left_over) if is_product else min(no_miss, *left_over)
        return signals


def rank(annotation: Annotation) -> float:
    """Sorts the best score first, and a score that is no number last."""
    return math.inf if math.isnan(annotation.score) else -annotation.score
