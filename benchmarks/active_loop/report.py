"""Puts loops into tables and figures, and judges them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.active_loop.command import Measured, subject_of
from benchmarks.active_loop.judging import control, judgements, labels_to, saving
from benchmarks.active_loop.rounds import Loop, Plan, Round
from benchmarks.active_loop.subject import Subject
from benchmarks.active_loop.truth import ALL, Accepted
from benchmarks.judgement import Report


def report(measured: Measured) -> Report:
    """What is judged, all rounds of all loops, and their tables."""
    subjects = {task: subject_of(task) for task in measured.loops}
    alphas = {task: subjects[task].terms.alpha for task in subjects}
    judged = [
        judgement
        for task, loops in measured.loops.items()
        for judgement in judgements(loops, alpha=alphas[task], target=subjects[task].target)
    ]
    judged.append(control([(loop, alphas[task]) for task, loops in measured.loops.items() for loop in loops]))
    tables = [
        table
        for task, loops in measured.loops.items()
        for table in (_rounds(loops, subjects[task]), _parts(loops), _compared(loops, subjects[task]))
    ]
    return Report(judgements=judged, figures=_figures(measured, subjects), tables=tables)


def _figures(measured: Measured, subjects: dict[Any, Subject]) -> dict[str, Any]:
    return {
        "is_quick": measured.is_quick,
        "wall_s": round(measured.wall_s, 1),
        "tasks": {
            task: _setting(subjects[task], measured.plans[task])
            | {
                "labels_to_target": {
                    name: labels_to(_of(loops, name), subjects[task].target) for name in _names(loops)
                },
                "saving": saving(loops, target=subjects[task].target),
                "loops": [_loop(loop) for loop in loops],
            }
            for task, loops in measured.loops.items()
        },
    }


def _setting(subject: Subject, plan: Plan) -> dict[str, Any]:
    terms = subject.terms
    promise = {"mode": terms.mode, "alpha": terms.alpha, "delta": terms.delta, "audit_rate": terms.audit_rate}
    return {"plan": asdict(plan), "mixture": subject.mixture, "terms": promise, "target": subject.target}


def _loop(loop: Loop) -> dict[str, Any]:
    return {
        "strategy": loop.strategy,
        "seed": loop.seed,
        "rounds": [_round(one) for one in loop.rounds],
        "chosen_labels": loop.chosen_labels,
        "last_quality": _rounded(loop.last_quality),
    }


def _round(one: Round) -> dict[str, Any]:
    """All of a round; what was accepted beside the drop's as a whole alone."""
    accepted = {"drop": {part: asdict(of) for part, of in one.drop.items()}}
    accepted |= {"fresh": asdict(one.fresh[ALL]), "by_eye": asdict(one.by_eye[ALL])}
    return asdict(one) | accepted | {"quality": _rounded(one.quality), "seconds": round(one.seconds, 1)}


def _rounded(values: Any) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


def _rounds(loops: Sequence[Loop], subject: Subject) -> Table:
    ours, terms = _of(loops, "hybrid"), subject.terms
    promise = f"at most {terms.alpha:.0%} of all items may be accepted and wrong"
    title = f"{subject.task}: hybrid, {len(ours)} seeds, means (lowest to highest); {promise}"
    grid = Table(title=title, title_justify="left")
    heads = ("round", "chosen", "random", "certified on", "bound", "accepted", "error", "held out", "by eye", "error")
    for head in (*heads, "F1"):
        grid.add_column(head, justify="right")
    for rounds in zip(*(loop.rounds for loop in ours), strict=True):
        grid.add_row(
            str(rounds[0].number),
            *(_whole(rounds, pick) for pick in (_chosen, _random, _certified_on)),
            *(_share(rounds, pick, digits=1) for pick in (_bound,)),
            _share(rounds, _coverage, digits=0),
            *(_share(rounds, pick, digits=1) for pick in (_error, _fresh_error)),
            _share(rounds, _eye_coverage, digits=0),
            _share(rounds, _eye_error, digits=1),
            _mean([one.quality[ALL] for one in rounds]),
        )
    last = [loop.last_quality[ALL] for loop in ours]
    grid.add_row("after", _counted([loop.chosen_labels for loop in ours]), *[""] * 8, _mean(last))
    return grid


def _parts(loops: Sequence[Loop]) -> Table:
    """The last round's policies by part, summed over seeds."""
    ours = [loop.rounds[-1] for loop in _of(loops, "hybrid")]
    grid = Table(title=f"{loops[0].task}: the last round by part, all seeds together", title_justify="left")
    for head in ("part", "items", "accepted", "true error", "by eye: accepted", "error", "F1, first", "F1, last"):
        grid.add_column(head, justify="left" if head == "part" else "right")
    for part in ours[0].drop:
        mine, eye = _summed([one.drop[part] for one in ours]), _summed([one.by_eye[part] for one in ours])
        first = np.mean([loop.rounds[0].quality[part] for loop in _of(loops, "hybrid")])
        last = np.mean([loop.last_quality[part] for loop in _of(loops, "hybrid")])
        shares = (mine.coverage, mine.dataset_error, eye.coverage, eye.dataset_error)
        grid.add_row(part, str(mine.items), *(f"{share:.1%}" for share in shares), f"{first:.3f}", f"{last:.3f}")
    return grid


def _compared(loops: Sequence[Loop], subject: Subject) -> Table:
    target, seeds = subject.target, len({loop.seed for loop in loops})
    grid = Table(title=f"{subject.task}: chosen labels to F1 {target}, {seeds} seeds", title_justify="left")
    grid.add_column("strategy", no_wrap=True)
    grid.add_column("of the mean curve", justify="right")
    grid.add_column("seed by seed", justify="right")
    grid.add_column("F1 at the end", justify="right")
    for name in _names(loops):
        own = _of(loops, name)
        each = ", ".join(_labels(labels_to([loop], target), loop) for loop in own)
        last = _mean([loop.last_quality[ALL] for loop in own])
        grid.add_row(name, _labels(labels_to(own, target), own[0]), each, last)
    if (share := saving(loops, target=target)) is not None:
        bound = "at most " if labels_to(_of(loops, "random"), target) is None else ""
        grid.add_row("hybrid / random", f"{bound}{share:.2f}", "", "")
    return grid


def _labels(found: float | None, loop: Loop) -> str:
    return f"over {loop.chosen_labels}" if found is None else f"{found:.0f}"


def _summed(parts: Sequence[Accepted]) -> Accepted:
    return sum(parts[1:], start=parts[0])


def _of(loops: Sequence[Loop], strategy: str) -> list[Loop]:
    return [loop for loop in loops if loop.strategy == strategy]


def _names(loops: Sequence[Loop]) -> list[str]:
    return list(dict.fromkeys(loop.strategy for loop in loops))


def _whole(rounds: Sequence[Round], pick: Callable[[Round], float]) -> str:
    return _counted([pick(one) for one in rounds])


def _counted(values: Sequence[float]) -> str:
    return f"{np.mean(values):.0f}"


def _share(rounds: Sequence[Round], pick: Callable[[Round], float], *, digits: int) -> str:
    values = [100.0 * pick(one) for one in rounds]
    mean = f"{np.mean(values):.{digits}f} %"
    return mean if len(values) == 1 else f"{mean} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def _mean(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f}"


def _chosen(one: Round) -> float:
    return one.chosen_labels


def _random(one: Round) -> float:
    return one.random_labels


def _certified_on(one: Round) -> float:
    return one.certified_on


def _bound(one: Round) -> float:
    return one.bound


def _coverage(one: Round) -> float:
    return one.drop[ALL].coverage


def _error(one: Round) -> float:
    return one.drop[ALL].dataset_error


def _fresh_error(one: Round) -> float:
    return one.fresh[ALL].dataset_error


def _eye_coverage(one: Round) -> float:
    return one.by_eye[ALL].coverage


def _eye_error(one: Round) -> float:
    return one.by_eye[ALL].dataset_error
