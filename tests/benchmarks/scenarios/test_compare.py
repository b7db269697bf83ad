"""Checks what is called a change, and what is refused to be compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median

import numpy as np
import pytest

from benchmarks.scenarios.compare import Change, change_interval, compare
from benchmarks.scenarios.report import Report
from models.errors import PrelabelError
from tests.benchmarks.scenarios.builders import a_machine, a_report

_RATES = (98.0, 99.0, 100.0, 101.0, 102.0)


def rate_change(before: Report, after: Report, *, margin: float = 0.02) -> Change:
    return next(c for c in compare(before, after, margin=margin).changes if c.figure == "items/s")


def test_the_same_numbers_are_no_difference() -> None:
    change = rate_change(a_report(_RATES), a_report(_RATES))

    assert change.verdict == "no difference beyond noise"
    assert change.interval is not None
    assert change.interval.factor == 1.0


@pytest.mark.parametrize(("factor", "verdict"), [(1.2, "better"), (0.8, "worse")])
def test_a_shift_beyond_the_spread_is_a_difference(factor: float, verdict: str) -> None:
    change = rate_change(a_report(_RATES), a_report([factor * rate for rate in _RATES]))

    assert change.verdict == verdict
    assert change.interval is not None
    assert change.interval.low < factor < change.interval.high


def test_a_longer_latency_is_worse() -> None:
    before, after = a_report(_RATES, scenario="server"), a_report(_RATES, scenario="server")
    [point] = after.points
    parts = (replace(part, latency_p95_s=1.5 * (part.latency_p95_s or 0.0)) for part in point.slices)
    after = replace(after, points=(replace(point, slices=tuple(parts)),))

    verdicts = {change.figure: change.verdict for change in compare(before, after, margin=0.02).changes}

    assert verdicts["p95 latency"] == "worse"
    assert verdicts["p50 latency"] == "no difference beyond noise"


def test_a_certain_but_tiny_change_is_below_the_margin() -> None:
    before, after = a_report([100.0] * 5), a_report([101.0] * 5)

    assert rate_change(before, after, margin=0.02).verdict == "no difference beyond noise"
    assert rate_change(before, after, margin=0.0).verdict == "better"


def test_three_repetitions_are_too_few_to_tell() -> None:
    assert rate_change(a_report([1.0, 1.1, 0.9]), a_report([9.0, 9.1, 8.9])).verdict == "too few repetitions"


@pytest.mark.parametrize(
    ("m", "n", "rank"),
    # The largest U that is significant at 5 % on two sides, as printed in tables of the Mann-Whitney test.
    [(3, 5, 0), (4, 4, 0), (5, 5, 2), (6, 8, 8), (10, 10, 23), (20, 20, 127)],
)
def test_the_interval_uses_the_critical_values_of_the_printed_table(m: int, n: int, rank: int) -> None:
    rng = np.random.default_rng(m * n)
    before, after = rng.uniform(1, 2, m), rng.uniform(1, 2, n)
    ratios = sorted(other / one for one in before for other in after)

    interval = change_interval(before.tolist(), after.tolist())

    assert interval is not None
    assert interval.low == pytest.approx(ratios[rank])
    assert interval.high == pytest.approx(ratios[-1 - rank])


def false_alarms(differs: Callable[[Sequence[float], Sequence[float]], bool], *, rounds: int = 2_000) -> float:
    """How often two samples of five from one skewed distribution are called different."""
    rng = np.random.default_rng(0)
    return float(np.mean([differs(*rng.lognormal(0.0, 0.3, (2, 5)).tolist()) for _ in range(rounds)]))


def test_noise_is_called_a_change_no_more_often_than_promised() -> None:
    def excludes_one(before: Sequence[float], after: Sequence[float]) -> bool:
        interval = change_interval(before, after)
        return interval is not None and not interval.low <= 1.0 <= interval.high

    promised = 0.05

    assert false_alarms(excludes_one) < promised + 5 * math.sqrt(promised * (1 - promised) / 2_000)


def test_comparing_medians_alone_would_cry_wolf() -> None:
    """The negative control of the check above: it does see a rule that calls noise a change."""
    assert false_alarms(lambda before, after: abs(median(after) / median(before) - 1) > 0.02) > 0.5


def test_a_real_change_of_a_noisy_figure_is_found() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.lognormal(0.0, 0.05, 5).tolist(), rng.lognormal(math.log(1.3), 0.05, 5).tolist()

    interval = change_interval(before, after)

    assert interval is not None
    assert 1.0 < interval.low < 1.3 < interval.high


@pytest.mark.parametrize(
    ("field", "after"),
    [
        ("scenario", a_report(_RATES, scenario="server")),
        ("target", a_report(_RATES, target="service")),
        ("models", a_report(_RATES, models=(replace(a_report(_RATES).models[0], precision="bf16"),))),
        ("models", a_report(_RATES, models=(replace(a_report(_RATES).models[0], weights_digest="0" * 64),))),
        ("inputs", a_report(_RATES, inputs=replace(a_report(_RATES).inputs, digest="0" * 64))),
        ("cpu", a_report(_RATES, machine=a_machine(cpu="Another CPU"))),
    ],
)
def test_what_cannot_be_compared_is_refused_by_name(field: str, after: Report) -> None:
    with pytest.raises(PrelabelError, match=rf"differ in {field}: .*--force") as refused:
        compare(a_report(_RATES), after, margin=0.02)

    assert refused.value.code == "not_comparable"
    assert compare(a_report(_RATES), after, margin=0.02, force=True).differs


def test_other_versions_are_compared_and_named() -> None:
    comparison = compare(a_report(_RATES), a_report(_RATES, machine=a_machine(torch="2.12.0")), margin=0.02)

    assert comparison.versions == ("torch 2.11.0 → 2.12.0",)


def test_loads_that_were_not_both_measured_are_refused_with_advice() -> None:
    before, after = a_report(_RATES, scenario="server"), a_report(_RATES, scenario="server")
    [point] = before.points
    before = replace(before, points=(replace(point, rate_per_s=100.0),))
    after = replace(after, points=(replace(point, rate_per_s=120.0),))

    with pytest.raises(PrelabelError, match="measure the second with --rate 100"):
        compare(before, after, margin=0.02)
