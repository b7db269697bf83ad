"""Writes a pre-label as a prediction of Label Studio."""

from __future__ import annotations

import math
from collections.abc import Sequence

from models.types import Annotation, TimeSpan, WholeItem
from pipelines.formats.exported import LeftOut, certainty, objects
from pipelines.formats.label_studio.binding import Binding
from pipelines.formats.label_studio.regions import Region, regions, share
from pipelines.formats.results import Result, result
from pipelines.types import Labelled

_AS_OF_A_COIN = 0.5


def prediction(
    binding: Binding, labelled: Labelled, *, model_version: str, text: str | None, left_out: LeftOut | None = None
) -> dict[str, object]:
    """One element of ``results``, of which Label Studio's own validation finds no fault.

    Regions bear the names and labels of the project, the ids of the annotations, the certainty of each as ``score``,
    and in ``meta`` which certainty that is (``score_kind``) and the annotation's attributes; ``meta.uncertainty`` of
    the first region is the item's whole vector. A pre-label that a reviewer must not see has no regions, and the same
    score as any other of these.

    Args:
        text: the text, where the item is one.
        left_out: counts, in words, what the project cannot show.
    """
    found = result(labelled)
    left_out = LeftOut() if left_out is None else left_out
    shown = [] if found.is_hidden else list(regions(binding, found, text=text, left_out=left_out))
    return {
        "model_version": model_version,
        "score": _AS_OF_A_COIN if found.is_hidden else score(found, binding),
        "result": as_json(shown, found, to_name=binding.source.name),
    }


def as_json(shown: Sequence[Region], found: Result, *, to_name: str) -> list[dict[str, object]]:
    """A prediction's ``result``; the first region's ``meta`` has the item's uncertainty, which has no other place."""
    uncertainty = {name: value for name, value in found.uncertainty.items() if math.isfinite(value)}
    extra = {"uncertainty": uncertainty} if uncertainty else {}
    return [region.to_json(to_name=to_name, meta={} if place else extra) for place, region in enumerate(shown)]


def score(found: Result, binding: Binding | None = None) -> float:
    """How likely the item is right as it is, in [0, 1]: Label Studio's uncertainty sampling shows the lowest first.

    It is the calibrated confidence in the whole item if there is one, else the certainty of its weakest label, of those
    that the interface offers. Where
    nothing was found it is 1 − the probability that something was missed: ``miss_risk``, else half of
    ``nothing_found``, which is the entropy of that probability and, up to a half, at least twice as high. With neither
    it is a half, as of a coin: never null, which SQLite sorts before the least certain item.
    """
    if found.confidence is not None:
        return share(found.confidence)
    seen = (one for one, _ in objects(found) if binding is None or _is_offered(binding, one))
    weakest = min((share(certainty(annotation)[0]) for annotation in seen), default=None)
    if weakest is not None:
        return weakest
    doubts = found.uncertainty
    doubt = doubts["miss_risk"] if "miss_risk" in doubts else doubts.get("nothing_found", 1.0) / 2.0
    return share(1.0 - doubt)


def not_offered(binding: Binding, found: Result) -> tuple[str, ...]:
    """The labels in a pre-label that the interface does not offer, so that nobody has seen them."""
    labels = (one.label for one, _ in objects(found) if not _is_offered(binding, one))
    return tuple(dict.fromkeys(labels))


def _is_offered(binding: Binding, annotation: Annotation) -> bool:
    match annotation.geometry:
        case WholeItem():
            return binding.choice(annotation.label) is not None
        case TimeSpan():  # what is said in it may be shown, whatever its label
            return True
        case shape:
            return binding.outlet(shape, annotation.label) is not None
