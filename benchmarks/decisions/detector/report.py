"""Judges what came of the detector's recalibrations, and shows it to machines and people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.decisions.detector.measurement import RULES, SEED, Held
from benchmarks.decisions.detector.outcome import Outcome
from benchmarks.decisions.detector.quality import MEASURES
from benchmarks.decisions.detector.recalibration import BY_PART, ROUND, TERMS, Rule
from benchmarks.decisions.detector.scenes import FIRST_SEED, PARTS
from benchmarks.judgement import Judgement, Report
from pipelines.bounds import upper_bound
from pipelines.certificate import delta_of_round

NAMES: dict[Rule, str] = {
    "calibrated": "prelabel, calibrated",
    "by part": "prelabel, a certificate for each part",
    "raw": "prelabel, raw score",
    "plug-in": "plug-in, calibrated",
    "plug-in on raw": "plug-in, raw score",
}

_CONTROL = 4.0 * TERMS.delta  # what a rule without a proof must at least break, or keeping it would show nothing
_RULE_WIDTH = 14
_OF_ORACLE = 2.0 / 3.0  # who accepts nothing breaks nothing


def report(held: Held) -> Report:
    """What is judged, with all figures and their tables."""
    return Report(
        judgements=judge(held), figures=figures(held), tables=[_rules(held), _parts(held), _calibration(held)]
    )


def judge(held: Held) -> list[Judgement]:
    """Whether ours keep their promises and accept something, whether a broken one would show, if calibration helps."""
    outcomes, quality = held.outcomes, held.quality
    calibrated, by_part = outcomes["calibrated"], outcomes["by part"]
    return [
        _kept("calibrated", calibrated.kept),
        _kept("raw", outcomes["raw"].kept),
        _kept("by part", by_part.kept_in_every_part, where=" in every part"),
        Judgement(
            what=f"{NAMES['plug-in']}: share of recalibrations with a greater error",
            value=1.0 - outcomes["plug-in"].kept,
            bar=_CONTROL,
            direction="above",
        ),
        Judgement(
            what=f"{NAMES['calibrated']}: mean coverage, beside two thirds of the oracle's",
            value=float(calibrated.coverages.mean()),
            bar=_OF_ORACLE * float(calibrated.oracles.mean()),
            direction="at_least",
        ),
        Judgement(
            what="decisions of the policies that differ from their thresholds",
            value=held.differing,
            bar=0,
            direction="at_most",
        ),
        *(
            Judgement(
                what=f"{name} of confidences, beside the scores'",
                value=quality.after[name],
                bar=quality.before[name],
                direction="below",
            )
            for name in ("item ECE", "box D-ECE")
        ),
    ]


def _kept(rule: Rule, share: float, *, where: str = "") -> Judgement:
    what = f"{NAMES[rule]}: share of recalibrations with a true error of at most {TERMS.alpha:.0%}{where}"
    return Judgement(what=what, value=share, bar=1.0 - TERMS.delta, direction="at_least")


def figures(held: Held) -> dict[str, Any]:
    """All figures, ready for ``json.dumps``."""
    size, scenes = held.size, len(PARTS) * held.size.of_part
    return {
        "model": held.model,
        "alpha": TERMS.alpha,
        "delta": TERMS.delta,
        "delta_of_round": delta_of_round(TERMS.delta, ROUND),
        "mode": TERMS.mode,
        "scenes": {part: {"n": size.of_part, "wrong": _short(held.base_errors[part])} for part in PARTS},
        "seeds": [FIRST_SEED, FIRST_SEED + size.of_part - 1],
        "labels": size.n,
        "labels_that_certify": _short(held.n_certified),
        "recalibrations": size.recalibrations,
        "fresh": scenes - size.n,
        "shared_by_two_samples": _short(size.n / scenes),
        "seed": SEED,
        "labelling_s": round(held.labelling_s, 1),
        "recalibrating_s": round(held.recalibrating_s, 1),
        "rules": [{"name": NAMES[rule]} | _figures(held.outcomes[rule]) for rule in RULES],
        "calibration": {
            "boxes": held.boxes,
            **{
                name: {"before": _short(held.quality.before[name]), "after": _short(held.quality.after[name])}
                for name in MEASURES
            },
        },
    }


def _figures(outcome: Outcome) -> dict[str, Any]:
    return {
        "kept": _short(outcome.kept),
        "kept_standard_error": _short(standard_error(outcome.kept, len(outcome.errors))),
        "kept_at_least": _short(at_least(outcome.kept, len(outcome.errors))),
        "kept_in_every_part": _short(outcome.kept_in_every_part),
        "error": _spread(outcome.errors),
        "coverage": _spread(outcome.coverages),
        "oracle_coverage": _short(outcome.oracles.mean()),
        "accepted_nothing": _short(np.mean(outcome.coverages == 0.0)),
        "parts": {
            part: {"kept": _short(kept), "error": _short(error), "coverage": _short(coverage)}
            for part, kept, error, coverage in _of_parts(outcome)
        },
    }


def standard_error(share: float, n: int) -> float:
    """Of a share of n, by the binomial distribution."""
    return math.sqrt(share * (1.0 - share) / n)


def at_least(share: float, n: int) -> float:
    """What a share of n shows with 95 % confidence (Clopper & Pearson 1934); where all are kept it has no error."""
    return 1.0 - upper_bound(round((1.0 - share) * n), n, delta=0.05)


def _spread(values: np.ndarray) -> dict[str, float]:
    return {"mean": _short(values.mean()), "median": _short(np.median(values)), "greatest": _short(values.max())}


def _of_parts(outcome: Outcome) -> list[tuple[str, float, float, float]]:
    """Of each part: the share that keeps the error there, the mean error, the mean coverage."""
    errors, coverages = outcome.part_errors.mean(axis=0).tolist(), outcome.part_coverages.mean(axis=0).tolist()
    return list(zip(PARTS, outcome.part_kept, errors, coverages, strict=True))


def _short(value: float | np.floating[Any]) -> float:
    return round(float(value), 4)


def _rules(held: Held) -> Table:
    size = held.size
    grid = Table(
        title=f"{held.model}, {len(PARTS) * size.of_part:,} scenes in equal parts; {size.recalibrations} samples "
        f"of {size.n} labels, the other scenes decided; {TERMS.mode}, alpha = delta = {TERMS.alpha}, round {ROUND}",
        title_justify="left",
    )
    grid.add_column("rule", min_width=_RULE_WIDTH)
    for name in ("kept\n± s.e.", "at least", "error\nmean/most", "coverage\nmean/median", "oracle"):
        grid.add_column(name, justify="right", no_wrap=True)
    for rule in RULES:
        found, n = held.outcomes[rule], size.recalibrations
        grid.add_row(
            NAMES[rule],
            f"{found.kept:.3f}±{standard_error(found.kept, n):.3f}",
            f"{at_least(found.kept, n):.3f}",
            f"{found.errors.mean():.3f}/{found.errors.max():.3f}",
            f"{found.coverages.mean():.3f}/{np.median(found.coverages):.3f}",
            f"{found.oracles.mean():.3f}",
        )
    return grid


def _parts(held: Held) -> Table:
    grid = Table(
        title=f"within each part: share of recalibrations with an error of at most {TERMS.alpha:.0%} there, mean "
        f"error/coverage; only certificates by {BY_PART.slices[0]} promise it",
        title_justify="left",
    )
    grid.add_column("rule", min_width=_RULE_WIDTH)
    for part in PARTS:
        grid.add_column(f"{part}\n{held.base_errors[part]:.3f} wrong", justify="right", no_wrap=True)
    grid.add_column("kept in\nevery part", justify="right")
    for rule in RULES:
        found = held.outcomes[rule]
        shown = [f"{kept:.3f}\n{error:.3f}/{coverage:.3f}" for _, kept, error, coverage in _of_parts(found)]
        grid.add_row(NAMES[rule], *shown, f"{found.kept_in_every_part:.3f}")
    return grid


def _calibration(held: Held) -> Table:
    grid = Table(title="scores beside confidences, mean over the recalibrations", title_justify="left")
    grid.add_column("measure")
    sides: Mapping[str, Mapping[str, float]] = {"before": held.quality.before, "after": held.quality.after}
    for side in sides:
        grid.add_column(side, justify="right")
    for name in MEASURES:
        grid.add_row(name, *(f"{values[name]:.3f}" for values in sides.values()))
    return grid
