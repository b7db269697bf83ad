"""Describes the items that there were when a policy was fitted and those that it decides about now, to be compared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from models.types import Item
from pipelines.audit import Period
from pipelines.calibration import Calibration
from pipelines.policy.certified import CertifiedPolicy
from pipelines.policy.scoring import scored_again
from pipelines.types import PreLabel, Route

_ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class PastItem:
    """An item with its pre-label; ``cost`` is what it took to correct it (Correction.cost), None where nobody has.

    ``route`` is where it was sent by the policy itself; None where that did not decide.
    """

    item: Item
    pre_label: PreLabel
    cost: float | None
    route: Route | None = None


def period(items: Iterable[PastItem], policy: CertifiedPolicy, calibration: Calibration | None) -> Period:
    """Scores, classes, what is accepted and what is corrected of these items, slice by slice, and of all together.

    Slices are those of the terms and the sources. What another policy decided about is decided again by this one.
    """
    scores, accepted = defaultdict[str, list[float]](list), defaultdict[str, list[bool]](list)
    classes, corrections = defaultdict[str, list[str]](list), defaultdict[str, list[float]](list)
    for one in items:
        pre_label = scored_again(one.pre_label, calibration)
        route = one.route or policy.decide(one.item, policy.task, pre_label).route
        for name in _slices(one.item, policy):
            scores[name].append(policy.score(pre_label) or 0.0)
            accepted[name].append(route in ("accept", "audit"))
            classes[name] += [annotation.label for annotation in pre_label.prediction.annotations]
            corrections[name] += [] if one.cost is None else [one.cost]
    return Period(
        scores={name: np.array(values) for name, values in scores.items()},
        classes={name: np.array(values) for name, values in classes.items()},
        accepted={name: np.array(values) for name, values in accepted.items()},
        corrections={name: np.array(values) for name, values in corrections.items()},
    )


def _slices(item: Item, policy: CertifiedPolicy) -> Sequence[str]:
    names = [_ALL]
    if policy.terms.slices:
        names.append(policy.terms.slice_of(item))
    if (source := policy.terms.source) is not None and source not in policy.terms.slices:
        names.append(f"{source}={item.meta.get(source, '')}")
    return names
