"""Judges what loops came to: promises kept, and labels saved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from benchmarks.active_loop.rounds import Loop, Round
from benchmarks.active_loop.truth import ALL, Accepted
from benchmarks.judgement import Judgement

SEEDS_TO_COMPARE = 3
_BESIDE = 0.1  # a share of a few hundred items is that of the pool by three standard errors

Pick = Callable[[Round], Mapping[str, Accepted]]


def broken(rounds: Iterable[Round], pick: Pick, *, alpha: float) -> tuple[int, int]:
    """In how many rounds more than alpha of all items were accepted and wrong, and in how many any were accepted."""
    of_all = [pick(one)[ALL] for one in rounds]
    return sum(one.dataset_error > alpha for one in of_all), sum(one.accepted > 0 for one in of_all)


def judgements(loops: Sequence[Loop], *, alpha: float, target: float) -> list[Judgement]:
    """The claims about all loops of one task."""
    task, rounds = loops[0].task, [one for loop in loops for one in loop.rounds]
    judged = [_kept(loops, what, pick, alpha=alpha) for what, pick in _PROMISED.items()]
    judged += [
        Judgement(
            what=f"{task}: most that routing accepts beside what its certificate says",
            value=max(abs(one.drop[ALL].coverage - one.expected) for one in rounds),
            bar=_BESIDE,
            direction="at_most",
        ),
        Judgement(
            what=f"{task}: items that a new model's predecessor's policy accepted",
            value=sum(one.accepted_by_older for one in rounds),
            bar=0,
            direction="at_most",
        ),
    ]
    if (share := saving(loops, target=target)) is not None and _seeds(loops) >= SEEDS_TO_COMPARE:
        judged.append(
            Judgement(what=f"{task}: labels to F1 {target}, by random's", value=share, bar=1.0, direction="below")
        )
    return judged


def control(loops: Sequence[tuple[Loop, float]]) -> Judgement:
    """That what promises nothing is found broken: thresholds by eye, over loops with the alphas of their tasks."""
    found = sum(broken(loop.rounds, _by_eye, alpha=alpha)[0] for loop, alpha in loops)
    rounds = sum(len(loop.rounds) for loop, _ in loops)
    what = f"control: rounds with more errors than that by thresholds by eye, of {rounds}"
    return Judgement(what=what, value=found, bar=0, direction="above")


def _kept(loops: Sequence[Loop], what: str, pick: Pick, *, alpha: float) -> Judgement:
    """Where nothing was accepted, nothing is known of promises."""
    violated, accepting = broken([one for loop in loops for one in loop.rounds], pick, alpha=alpha)
    return Judgement(
        what=f"{loops[0].task}, {what}: rounds over {alpha:.0%}, of {accepting} that accept, in {len(loops)} loops",
        value=violated if accepting else None,
        bar=0,
        direction="at_most",
    )


def saving(loops: Sequence[Loop], *, target: float) -> float | None:
    """Chosen labels to the target by hybrid over those by random; None where hybrid never gets there.

    Where random never does, all the labels that it got are counted, so that the share is an upper bound.
    """
    ours, theirs = (labels_to(_of(loops, name), target) for name in ("hybrid", "random"))
    if ours is None or not _of(loops, "random"):
        return None
    return ours / (theirs or _of(loops, "random")[0].chosen_labels)


def labels_to(loops: Sequence[Loop], target: float) -> float | None:
    """The chosen labels at which the mean of these loops' curves crosses the target, linear between rounds.

    None where it never does, or there are no loops.
    """
    if not loops:
        return None
    labels, heights = mean_curve(loops)
    reached = np.flatnonzero(heights >= target)
    if not len(reached):
        return None
    after = int(reached[0])
    if after == 0:
        return float(labels[0])
    before = after - 1
    share = (target - heights[before]) / (heights[after] - heights[before])
    return float(labels[before] + share * (labels[after] - labels[before]))


def mean_curve(loops: Sequence[Loop]) -> tuple[np.ndarray, np.ndarray]:
    """Labels and quality, (rounds + 1,) each, as means over loops."""
    curves = np.array([loop.curve() for loop in loops])  # (loops, rounds + 1, 2)
    labels, heights = curves.mean(axis=0).T
    return labels, heights


def _of(loops: Sequence[Loop], strategy: str) -> list[Loop]:
    return [loop for loop in loops if loop.strategy == strategy]


def _seeds(loops: Sequence[Loop]) -> int:
    """How many seeds both strategies have."""
    ours, theirs = ({loop.seed for loop in _of(loops, name)} for name in ("hybrid", "random"))
    return len(ours & theirs)


def _drop(one: Round) -> Mapping[str, Accepted]:
    return one.drop


def _drop_and_fresh(one: Round) -> Mapping[str, Accepted]:
    """Of more items, so nearer to what the certificate speaks of: all that could come."""
    return {ALL: one.drop[ALL] + one.fresh[ALL]}


def _by_eye(one: Round) -> Mapping[str, Accepted]:
    return one.by_eye


_PROMISED: dict[str, Pick] = {"the drop": _drop, "with held-out items": _drop_and_fresh}
