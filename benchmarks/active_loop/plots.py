"""Draws what loops came to; needs matplotlib."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator, PercentFormatter

from benchmarks.active_loop.command import Measured, subject_of
from benchmarks.active_loop.judging import labels_to, mean_curve
from benchmarks.active_loop.rounds import Loop, Round
from benchmarks.active_loop.subject import Subject
from benchmarks.active_loop.truth import ALL
from benchmarks.machine import Machine
from models.types import Task

_ROW_IN, _WIDTH_IN, _DPI = 3.7, 13.4, 150
_CAPTION_CHARS = 230
# Lightness and marks differ with the colour: the plots read in greyscale too.
_INKS = {"hybrid": "#0b3c5d", "random": "#d1495b"}
_MARKS = {"hybrid": "o-", "random": "s--"}
_EYE, _LIMIT = "#b8860b", "0.25"
_WHAT: dict[Task, str] = {"ner": "Entities in texts", "detection": "Shapes in images"}


def draw(measured: Measured, file: Path, machine: Machine) -> None:
    """Write one picture with a row for each task: quality, what is accepted, and the error of that."""
    tasks = list(measured.loops)
    height = _ROW_IN * len(tasks) + 0.9
    figure = Figure(figsize=(_WIDTH_IN, height), dpi=_DPI)
    grid = figure.subplots(len(tasks), 3, squeeze=False)
    figure.subplots_adjust(left=0.055, right=0.985, top=1 - 0.5 / height, bottom=1.45 / height, wspace=0.26, hspace=0.5)
    for row, task in zip(grid, tasks, strict=True):
        loops, subject = measured.loops[task], subject_of(task)
        _quality(row[0], loops, subject)
        _coverage(row[1], loops)
        _error(row[2], loops, subject)
        for axes in row:
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(axis="y", color="0.9", linewidth=0.8)
            axes.set_axisbelow(True)
    caption = "\n".join(textwrap.wrap(_caption(measured, machine), _CAPTION_CHARS, break_on_hyphens=False))
    figure.text(0.012, 0.1 / height, caption, fontsize=7.8, color="0.35", va="bottom", linespacing=1.4)
    figure.savefig(file)


def _quality(axes: Axes, loops: Sequence[Loop], subject: Subject) -> None:
    heights = [height for loop in loops for _, height in loop.curve()]
    bottom = min(heights) - 0.02
    axes.set_ylim(bottom, max(*heights, subject.target) + 0.015)
    by_name = {name: [loop for loop in loops if loop.strategy == name] for name in _names(loops)}
    reached = {name: labels_to(own, subject.target) for name, own in by_name.items()}
    ends = {name: mean_curve(own)[1][-1] for name, own in by_name.items()}
    for name, own in by_name.items():
        for loop in own:
            axes.plot(*zip(*loop.curve(), strict=True), color=_INKS[name], alpha=0.25, linewidth=0.9)
        labels, means = mean_curve(own)
        axes.plot(labels, means, _MARKS[name], color=_INKS[name], linewidth=1.8, markersize=5)
        align = "bottom" if ends[name] == max(ends.values()) else "top"
        axes.text(labels[-1] + 3, means[-1], name, color=_INKS[name], fontsize=9.5, fontweight="bold", va=align)
        if (at := reached[name]) is not None:
            axes.plot([at, at], [bottom, subject.target], ":", color=_INKS[name], linewidth=1.2)
            is_first = at == min(other for other in reached.values() if other is not None)
            axes.text(at, bottom, f" {at:.0f} ", fontsize=9, color=_INKS[name], va="bottom", ha=_side(is_first))
    axes.axhline(subject.target, color="0.5", linewidth=1, linestyle=(0, (6, 3)))
    axes.text(-2, subject.target, f"F1 {subject.target}", fontsize=8, color="0.4", va="bottom")
    axes.set_xlim(-3, 1.2 * max(loop.chosen_labels for loop in loops))
    axes.set_xlabel("labels that a strategy chose")
    axes.set_ylabel("F1 on held-out items")
    _title(axes, f"{_WHAT[subject.task]}: quality")


def _side(is_first: bool) -> Literal["right", "left"]:
    return "right" if is_first else "left"


def _coverage(axes: Axes, loops: Sequence[Loop]) -> None:
    ours = [loop for loop in loops if loop.strategy == "hybrid"]
    for loop in loops:
        numbers = [one.number for one in loop.rounds]
        heights = [one.drop[ALL].coverage for one in loop.rounds]
        axes.plot(numbers, heights, color=_INKS[loop.strategy], alpha=0.25, linewidth=0.9)
    for name in _names(loops):
        rounds = list(zip(*(loop.rounds for loop in loops if loop.strategy == name), strict=True))
        heights = [float(np.mean([one.drop[ALL].coverage for one in each])) for each in rounds]
        axes.plot(range(1, len(rounds) + 1), heights, _MARKS[name], color=_INKS[name], linewidth=1.8, label=name)
    ticks = [f"{each[0].number}\n{_spent(each)}" for each in zip(*(loop.rounds for loop in ours), strict=True)]
    axes.set_xticks(range(1, len(ticks) + 1), ticks)
    axes.set_xlabel("round, and answers so far (chosen + random sample)")
    axes.set_ylabel("share of the drop that is accepted")
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    _title(axes, "accepted under a certificate")
    axes.legend(frameon=False, loc="upper left", fontsize=9)


def _spent(rounds: Sequence[Round]) -> str:
    chosen, drawn = (np.mean([getattr(one, name) for one in rounds]) for name in ("chosen_labels", "random_labels"))
    return f"{chosen:.0f} + {drawn:.0f}"


def _error(axes: Axes, loops: Sequence[Loop], subject: Subject) -> None:
    alpha = subject.terms.alpha
    axes.axhspan(alpha, 1.0, color="#d1495b", alpha=0.08, linewidth=0)
    axes.axhline(alpha, color=_LIMIT, linewidth=1.2, linestyle=(0, (6, 3)))
    rng = np.random.default_rng(0)  # moves dots aside, so that none hides another
    tallest = alpha
    marked = set[str]()
    for loop in loops:
        for one in loop.rounds:
            place, eye = one.number + rng.uniform(-0.14, 0.14), one.by_eye[ALL].dataset_error
            tallest = max(tallest, eye)
            for height, ink, mark, name in (
                (eye, _EYE, "x", "thresholds by eye"),
                (one.bound if one.threshold is not None else None, "0.45", "_", "certified bound"),
                (one.drop[ALL].dataset_error, _INKS["hybrid"], "o", "true error, the drop"),
                (one.fresh[ALL].dataset_error, "#8fb8de", "^", "true error, held-out items"),
            ):
                if height is not None:
                    label = None if name in marked else name
                    marked.add(name)
                    axes.plot([place], [height], mark, color=ink, markersize=6 if mark != "_" else 11, label=label)
    axes.text(
        0.008,
        alpha,
        f"promised: at most {alpha:.0%}",
        fontsize=8.5,
        color=_LIMIT,
        va="bottom",
        transform=axes.get_yaxis_transform(),
    )
    axes.set_ylim(-0.002, 1.45 * tallest)
    axes.set_xlim(0.6, max(len(loop.rounds) for loop in loops) + 0.4)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MultipleLocator(0.02))  # others, such as 2.5 %, would be shown rounded
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel("round (every loop a mark, both strategies)")
    axes.set_ylabel("accepted and wrong, of all items")
    _title(axes, "true error of what is accepted")
    axes.legend(frameon=False, loc="upper center", fontsize=8.5, ncols=2, columnspacing=1.2, handletextpad=0.4)


def _title(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")


def _names(loops: Sequence[Loop]) -> list[str]:
    return list(dict.fromkeys(loop.strategy for loop in loops))


def _caption(measured: Measured, machine: Machine) -> str:
    drops = [
        f"{task}: {len({loop.seed for loop in loops})} seeds, drops of {measured.plans[task].drop} "
        f"({_mixture(subject_of(task))}), {measured.plans[task].held_out} held-out items"
        for task, loops in measured.loops.items()
    ]
    libraries = ", ".join(f"{name} {machine.libraries[name]}" for name in ("torch", "transformers"))
    error_rate = next(iter(measured.plans.values())).error_rate
    return (
        f"Thick lines are means over seeds, thin ones single loops. {'; '.join(drops)}. "
        f"Annotators err in {error_rate:.0%} of their answers; delta is 5 % over all rounds of a loop. "
        f"{machine.cpu}, {machine.cores} cores, {libraries}; {measured.wall_s:.0f} s for everything, "
        f"load average {machine.load_average_1min:.1f}."
    )


def _mixture(subject: Subject) -> str:
    return ", ".join(f"{share:.0%} {part.replace('_', ' ')}" for part, share in subject.mixture.items())
