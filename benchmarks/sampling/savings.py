"""Measures how many labels a strategy saves: digits, three kinds of pools, every strategy on the same seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

import numpy as np

from benchmarks.judgement import Judgement
from benchmarks.sampling.digits import Kind, digits
from benchmarks.sampling.learning import LABELS, Arm, curve

KINDS: tuple[Kind, ...] = get_args(Kind)
ARMS = (
    Arm(name="random", strategy="random"),
    Arm(name="entropy", strategy="entropy"),
    Arm(name="least_confidence", strategy="least_confidence"),
    Arm(name="margin", strategy="margin"),
    Arm(name="k_center", strategy="k_center"),
    Arm(name="typiclust", strategy="typiclust"),
    Arm(name="hybrid, nothing explored", strategy="hybrid"),
    Arm(name="hybrid", strategy="hybrid", explore=0.1),  # as the product runs it
)
QUICK_ARMS = tuple(arm for arm in ARMS if arm.name in ("random", "entropy", "hybrid"))
_TARGETS = (0.90, 0.92, 0.94)
_SAVING, _WINS, _LOSSES, _RARE_GAIN = 0.6, 0.9, 0.25, 0.06
# Labels are counted in batches of 20, and of few seeds random's mean curve reaches .92 two batches earlier or later.
_SEEDS_FOR_SAVING, _SAVING_OF_FEW = 20, 0.7

Curves = Mapping[str, np.ndarray]  # by arm: (seeds, rounds + 1) balanced accuracy


def learning_curves(kind: Kind, arms: Sequence[Arm], *, seeds: int, progress: Callable[[str], None]) -> Curves:
    """The curves of all arms over the same pools and the same first labels."""
    curves = {arm.name: np.empty((seeds, len(LABELS))) for arm in arms}
    for seed in range(seeds):
        pool = digits(kind, np.random.default_rng([seed, 0]))
        for arm in arms:
            curves[arm.name][seed] = curve(pool, arm, seed=seed)
        progress(f"{kind}: seed {seed + 1} of {seeds}")
    return curves


def figures(curves: Curves) -> dict[str, dict[str, Any]]:
    """For each arm: the gain in area under the mean curve over random, seeds won, accuracy, and labels to targets.

    The area is the mean over the rounds; a seed is won where it is above that of random on the same seed.
    """
    areas = {name: values.mean(axis=1) for name, values in curves.items()}
    return {
        name: {
            "gain_in_area": round(float((areas[name] - areas["random"]).mean()), 4),
            "wins": int((areas[name] > areas["random"]).sum()),
            "accuracy_at_100": round(float(values.mean(axis=0)[LABELS.index(100)]), 3),
            **{f"labels_to_{target:.2f}": labels_to(values, target) for target in _TARGETS},
            "curve": [round(float(value), 4) for value in values.mean(axis=0)],
        }
        for name, values in curves.items()
    }


def labels_to(curves: np.ndarray, target: float) -> int | None:
    """The fewest labels at which the mean curve reaches the target; None where it never does."""
    reached = np.flatnonzero(curves.mean(axis=0) >= target)
    return LABELS[reached[0]] if len(reached) else None


def judgements(by_kind: Mapping[Kind, Mapping[str, Mapping[str, Any]]], *, seeds: int) -> list[Judgement]:
    """The claims about the default strategy, and the control: entropy must lose on near-duplicates."""
    judged, saving = list[Judgement](), _SAVING if seeds >= _SEEDS_FOR_SAVING else _SAVING_OF_FEW
    for kind in ("plain", "near_duplicate"):
        found = by_kind[kind]
        ours, peer = (found[name]["labels_to_0.92"] for name in ("hybrid", "random"))
        share = None if ours is None else ours / (peer or LABELS[-1])  # random may need more than there are
        judged.append(
            Judgement(what=f"{kind}: labels to .92, by random's", value=share, bar=saving, direction="at_most")
        )
        wins = found["hybrid"]["wins"]
        judged.append(
            Judgement(what=f"{kind}: seeds won by hybrid", value=wins, bar=_WINS * seeds, direction="at_least")
        )
    rare, control = by_kind["rare"]["hybrid"]["gain_in_area"], by_kind["near_duplicate"]["entropy"]["wins"]
    judged.append(Judgement(what="rare: gain in area of hybrid", value=rare, bar=_RARE_GAIN, direction="at_least"))
    judged.append(
        Judgement(
            what="control, near_duplicate: seeds won by entropy",
            value=control,
            bar=_LOSSES * seeds,
            direction="at_most",
        )
    )
    return judged
