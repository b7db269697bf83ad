"""Recalibrates many times, and holds each policy against the truth about scenes that it has not seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import numpy as np

from benchmarks.decisions.detector.labelling import LabelledScenes, labelled
from benchmarks.decisions.detector.outcome import Outcome, best_coverage, outcome
from benchmarks.decisions.detector.quality import Quality, mean, quality
from benchmarks.decisions.detector.recalibration import TERMS, Recalibration, Rule, recalibrated
from benchmarks.decisions.detector.scenes import PARTS, items
from benchmarks.decisions.detector.scored import Scored
from pipelines.calibration.report import JudgedItems, write_report

SEED = 27_182
RULES: tuple[Rule, ...] = get_args(Rule)

_TOLD_EVERY = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many scenes of each part there are, labels in a sample, and samples."""

    of_part: int
    n: int
    recalibrations: int


FULL, QUICK = Size(of_part=4_000, n=600, recalibrations=200), Size(of_part=300, n=300, recalibrations=40)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What came of it.

    Attributes:
        base_errors: by part, the share of scenes whose pre-label is not right as it is.
        n_certified: how many of the n labels certify the calibrated policy, on average; the others calibrate it.
        differing: how often a policy, asked about an item, said something else than its threshold.
        boxes: of all pre-labels.
    """

    size: Size
    model: str
    base_errors: Mapping[str, float]
    outcomes: Mapping[Rule, Outcome]
    quality: Quality
    n_certified: float
    differing: int
    boxes: int
    labelling_s: float
    recalibrating_s: float


def measure(*, quick: bool, progress: Callable[[str], None], page: Path | None = None) -> Held:
    """Draw and label the scenes; for each recalibration draw a sample of them, and decide about all others.

    A scene may be in one sample and among those that another decides about, never both in one. So what a calibration or
    a certificate stands on is never judged by it, and no single choice of test scenes is lucky or unlucky for all.

    Args:
        page: where the calibration report of the first recalibration goes, if anywhere.
    """
    size = QUICK if quick else FULL
    return held(labelled(items(size.of_part), progress=progress), size, progress=progress, page=page)


def held(found: LabelledScenes, size: Size, *, progress: Callable[[str], None], page: Path | None = None) -> Held:
    """What comes of scenes that are labelled."""
    start, now, scored = time.monotonic(), datetime.now(UTC), Scored.of(found.scenes)
    recalibrations, qualities = list[Recalibration](), list[Quality]()
    for number in range(size.recalibrations):
        one = recalibrated(scored, conditions=found.conditions, n=size.n, number=number, seed=SEED, now=now)
        recalibrations.append(one)
        qualities.append(quality(one, scored))
        if (number + 1) % _TOLD_EVERY == 0:
            progress(f"detector: {number + 1} of {size.recalibrations} recalibrations")
    if page is not None:
        _write(page, recalibrations[0], scored, model=found.model, now=now)
    return Held(
        size=size,
        model=found.model,
        base_errors={part: float(scored.losses[scored.parts == part].mean()) for part in PARTS},
        outcomes=_outcomes(recalibrations, scored),
        quality=mean(qualities),
        n_certified=float(np.mean([one.n_certified for one in recalibrations])),
        differing=sum(one.differing for one in recalibrations),
        boxes=sum(map(len, scored.ious)),
        labelling_s=found.wall_s,
        recalibrating_s=time.monotonic() - start,
    )


def _outcomes(recalibrations: Sequence[Recalibration], scored: Scored) -> dict[Rule, Outcome]:
    fresh = np.stack([one.fresh for one in recalibrations])
    oracles = [_oracles(one, scored) for one in recalibrations]
    return {
        rule: outcome(
            np.stack([one.accepted[rule] for one in recalibrations]),
            scored.losses[fresh],
            scored.parts[fresh],
            parts=PARTS,
            oracles=np.array([of_each[rule] for of_each in oracles]),
            alpha=TERMS.alpha,
        )
        for rule in RULES
    }


def _oracles(found: Recalibration, scored: Scored) -> dict[Rule, float]:
    """The coverage of the best threshold on the truth for the scores of each rule, or of the best ones by part."""
    losses, parts = scored.losses[found.fresh], scored.parts[found.fresh]
    calibrated = best_coverage(found.confidences, losses, alpha=TERMS.alpha)
    raw = best_coverage(scored.raw[found.fresh], losses, alpha=TERMS.alpha)
    of_parts = [
        best_coverage(found.confidences[own], losses[own], alpha=TERMS.alpha) * float(own.mean())
        for own in (parts == part for part in PARTS)
    ]
    return {
        "calibrated": calibrated,
        "plug-in": calibrated,
        "by part": sum(of_parts),
        "raw": raw,
        "plug-in on raw": raw,
    }


def _write(page: Path, found: Recalibration, scored: Scored, *, model: str, now: datetime) -> None:
    of_items = JudgedItems(
        raw_scores=scored.raw[found.fresh],
        confidences=found.confidences,
        is_acceptable=scored.losses[found.fresh] == 0.0,
    )
    write_report(
        page,
        calibration=found.calibration,
        labels=scored.boxes(found.fresh),
        items=of_items,
        is_held_out=True,
        made=now,
        title=f"Calibration of {model.partition('@')[0]}",
    )
