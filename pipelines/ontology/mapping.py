"""Puts a prediction into the words of an ontology, and counts what has none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import assert_never

from models.types import Annotation, Prediction, Task
from pipelines.ontology.ontology import Ontology

UNMAPPED = "unmapped"  # the attribute that marks an annotation whose label means no class
MODEL_LABEL = "model_label"  # the attribute that holds that label, where the abstain class stands in its place


@dataclass(frozen=True, slots=True, kw_only=True)
class NotAllowed:
    """An attribute that its annotation's class does not have, or a value that it may not have."""

    annotation_id: str
    attribute: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """A prediction in the words of an ontology, how often each label meant no class, and what it does not allow."""

    prediction: Prediction
    unmapped: Counter[str] = field(default_factory=Counter)
    not_allowed: tuple[NotAllowed, ...] = ()


def apply(prediction: Prediction, ontology: Ontology, task: Task, *, models: Sequence[str] = ()) -> Mapped:
    """Turn labels into classes. Order and ids are kept; what means no class is counted, whatever becomes of it.

    Where annotations are dropped, ``min_score`` is taken over the others, and their parts (the words of a segment)
    belong to nothing any more. Attributes are left as they are.

    Args:
        models: those that made the prediction, for aliases of single models.
    """
    unmapped, kept = Counter[str](), list[Annotation]()
    for annotation in prediction.annotations:
        name = ontology.class_of(annotation.label, task=task, models=models)
        if name is None:
            unmapped[annotation.label] += 1
            kept += _without_class(annotation, ontology)
        else:
            kept.append(annotation if name == annotation.label else replace(annotation, label=name))
    return Mapped(
        prediction=_with(prediction, kept),
        unmapped=unmapped,
        not_allowed=tuple(problem for annotation in kept for problem in _not_allowed(annotation, ontology)),
    )


def _without_class(annotation: Annotation, ontology: Ontology) -> list[Annotation]:
    marked = annotation.attributes | {UNMAPPED: True}
    match ontology.unmapped:
        case "keep":
            return [replace(annotation, attributes=marked)]
        case "abstain":
            label = ontology.abstain or annotation.label  # an ontology that says abstain has such a class
            return [replace(annotation, label=label, attributes=marked | {MODEL_LABEL: annotation.label})]
        case "drop":
            return []
        case _:
            assert_never(ontology.unmapped)


def _with(prediction: Prediction, kept: Sequence[Annotation]) -> Prediction:
    if len(kept) == len(prediction.annotations):
        return replace(prediction, annotations=tuple(kept))
    ids = {annotation.id for annotation in kept}
    orphans = {annotation.id for annotation in prediction.annotations} - ids
    signals = {name: value for name, value in prediction.signals.items() if name != "min_score"}
    if kept:
        signals["min_score"] = min(annotation.score for annotation in kept)
    rooted = (replace(one, parent_id=None) if one.parent_id in orphans else one for one in kept)
    return replace(prediction, annotations=tuple(rooted), signals=signals)


def _not_allowed(annotation: Annotation, ontology: Ontology) -> Iterator[NotAllowed]:
    said = {name: value for name, value in annotation.attributes.items() if name not in (UNMAPPED, MODEL_LABEL)}
    allowed = ontology.attributes(annotation.label) if said and ontology.has(annotation.label) else None
    if allowed is None:
        return
    for name, value in said.items():
        if name not in allowed:
            known = ", ".join(allowed) or "none"
            message = f"class '{annotation.label}' has no attribute '{name}'; it has: {known}"
        elif (problem := allowed[name].problem(value)) is not None:
            message = f"the attribute '{name}' of class '{annotation.label}' {problem}"
        else:
            continue
        yield NotAllowed(annotation_id=annotation.id, attribute=name, message=message)
