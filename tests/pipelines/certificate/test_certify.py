"""Checks what a certificate says, what it counts, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.decisions.populations import POPULATIONS
from pipelines.bounds import p_value, upper_bound, zero_error_n
from pipelines.certificate import REVIEW_ALL, Certificate, Mode, accepted_error, certify, delta_of_round, per_slice
from pipelines.certificate.sample import Sample
from pipelines.errors import InvalidRequestError

MODES = pytest.mark.parametrize("mode", ["dataset_error", "accepted_error"])


def certified(scores: np.ndarray, losses: np.ndarray, mode: Mode, **changed: object) -> Certificate:
    arguments = {"alpha": 0.05, "delta": 0.05, "pool_scores": np.linspace(0.0, 1.0, 1_001)} | changed
    return certify(scores, losses, mode=mode, **arguments)  # type: ignore[arg-type]


def a_sample(n: int = 1_000, seed: int = 0, name: str = "good") -> tuple[np.ndarray, np.ndarray]:
    return POPULATIONS[name].draw(n, np.random.default_rng(seed))


@st.composite
def samples(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores with many ties, losses that may depend on them, and a pool."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    n, levels = draw(st.integers(1, 400)), draw(st.integers(1, 30))
    scores, pool = (np.floor(rng.random(size) * levels) / levels for size in (n, 500))
    losses = (rng.random(n) < draw(st.floats(0.0, 0.3)) * (1.5 - scores)).astype(float)
    if draw(st.booleans()):
        losses *= rng.random(n)
    return scores, losses, pool


@MODES
@given(sample=samples(), seed=st.integers(0, 100))
def test_the_order_of_labels_makes_no_difference(
    mode: Mode, sample: tuple[np.ndarray, np.ndarray, np.ndarray], seed: int
) -> None:
    scores, losses, pool = sample
    order = np.random.default_rng(seed).permutation(len(scores))

    one = certified(scores, losses, mode, pool_scores=pool)
    other = certified(scores[order], losses[order], mode, pool_scores=pool[::-1])

    assert (one.threshold, one.n_accepted, one.coverage) == (other.threshold, other.n_accepted, other.coverage)
    assert one.bound == pytest.approx(other.bound)


@MODES
@given(sample=samples())
def test_nothing_is_accepted_whose_bound_is_above_alpha(
    mode: Mode, sample: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    scores, losses, pool = sample

    found = certified(scores, losses, mode, pool_scores=pool)

    is_accepted = scores >= found.threshold
    assert found.is_certified == (found.bound <= 0.05)
    assert found.n_accepted == is_accepted.sum()
    assert found.errors == pytest.approx(losses[is_accepted].sum())
    assert found.coverage == pytest.approx(np.mean(pool >= found.threshold))
    if found.is_certified:
        assert found.labels_needed is None
        seen = found.errors / (found.n if mode == "dataset_error" else max(found.n_accepted, 1))
        assert seen <= found.bound
    else:
        assert found.threshold == REVIEW_ALL
        assert found.n_accepted == 0
        assert found.labels_needed is None or found.labels_needed >= 1


@given(sample=samples(), more=st.floats(1.0, 3.0))
def test_a_looser_promise_for_the_data_set_accepts_no_less(
    sample: tuple[np.ndarray, np.ndarray, np.ndarray], more: float
) -> None:
    scores, losses, pool = sample

    strict = certified(scores, losses, "dataset_error", pool_scores=pool)

    for looser in ({"alpha": 0.05 * more}, {"delta": 0.05 * more}):
        assert certified(scores, losses, "dataset_error", pool_scores=pool, **looser).threshold <= strict.threshold


@given(sample=samples())
def test_one_more_error_accepts_no_more(sample: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    scores, losses, pool = sample
    worse = losses.copy()
    worse[np.argmin(losses)] = 1.0

    for mode in ("dataset_error", "accepted_error"):
        before = certified(scores, losses > 0, mode, pool_scores=pool)
        assert certified(scores, worse > 0, mode, pool_scores=pool).threshold >= before.threshold


def test_the_dataset_threshold_is_the_lowest_whose_exact_bound_holds() -> None:
    scores, losses = a_sample(400)

    found = certified(scores, losses, "dataset_error")

    bounds = {s: upper_bound(int(losses[scores >= s].sum()), 400, delta=0.05) for s in scores.tolist()}
    assert found.threshold == min(score for score, bound in bounds.items() if bound <= 0.05)
    assert found.bound == bounds[found.threshold]
    assert found.accepted_error_bound == pytest.approx(found.bound / found.coverage)
    assert found.method == "clopper_pearson"


def test_the_accepted_errors_of_a_threshold_pass_their_own_test() -> None:
    scores, losses = a_sample(1_000)

    found = certified(scores, losses, "accepted_error", pool_scores=a_sample(5_000, 1)[0])

    assert found.is_certified
    assert p_value(int(found.errors), found.n_accepted, alpha=0.05) <= 0.05
    assert found.bound == found.accepted_error_bound <= 0.05
    assert found.method == "sequence_binomial"


def test_all_items_of_one_score_are_accepted_together_or_not_at_all() -> None:
    # 70 right ones at 0.9, and at 0.5 a hundred of which 40 are wrong, listed last.
    scores = np.repeat([0.9, 0.5], [70, 100])
    losses = np.concatenate([np.zeros(130), np.ones(40)])

    found = certified(scores, losses, "dataset_error")

    assert found.threshold == 0.9
    assert found.n_accepted == 70
    assert found.errors == 0


@MODES
def test_scores_that_are_all_the_same_are_accepted_or_reviewed_as_one(mode: Mode) -> None:
    pool = np.full(50, 0.7)

    good = certified(np.full(100, 0.7), np.zeros(100), mode, pool_scores=pool)
    bad = certified(np.full(100, 0.7), np.repeat([0.0, 1.0], [80, 20]), mode, pool_scores=pool)

    assert (good.threshold, good.coverage, good.n_accepted) == (0.7, 1.0, 100)
    assert good.bound == pytest.approx(upper_bound(0, 100, delta=0.05))
    assert not bad.is_certified


@MODES
def test_too_few_labels_certify_nothing_and_say_how_many_are_missing(mode: Mode) -> None:
    found = certified(np.linspace(0, 1, 50), np.zeros(50), mode)

    assert not found.is_certified
    assert found.bound > 0.05
    assert found.labels_needed is not None
    assert found.n + found.labels_needed >= zero_error_n(0.05, 0.05)


@MODES
def test_no_labels_at_all_mean_that_everything_is_reviewed(mode: Mode) -> None:
    found = certified(np.zeros(0), np.zeros(0), mode)

    assert (found.threshold, found.n, found.coverage) == (math.inf, 0, 0.0)
    assert found.labels_needed is not None
    assert found.labels_needed >= 59
    assert "Everything needs review" in found.summary()


@MODES
def test_as_many_labels_as_were_said_to_be_missing_do_about_half_of_the_time(mode: Mode) -> None:
    # Every item is wrong with the same probability, below alpha; labels_needed is asked of a sample like the average.
    rng, rate = np.random.default_rng(5), 0.02
    n = 100
    wrong = np.zeros(n)
    wrong[[20, 70]] = 1.0
    scores, pool = np.zeros(n), np.zeros(1_000)
    first = certified(scores, wrong, mode, pool_scores=pool)
    assert first.labels_needed is not None

    total = n + first.labels_needed
    done = [
        certified(np.zeros(total), (rng.random(total) < rate).astype(float), mode, pool_scores=pool).is_certified
        for _ in range(200)
    ]
    fewer = [
        certified(
            np.zeros(total // 2), (rng.random(total // 2) < rate).astype(float), mode, pool_scores=pool
        ).is_certified
        for _ in range(200)
    ]

    assert 0.4 < np.mean(done) < 0.95
    assert np.mean(fewer) < np.mean(done) - 0.2


@MODES
def test_no_number_of_labels_is_named_where_scores_tell_nothing(mode: Mode) -> None:
    rng = np.random.default_rng(6)
    scores = np.full(500, 0.5)

    found = certified(scores, (rng.random(500) < 0.3).astype(float), mode, pool_scores=scores)

    assert not found.is_certified
    assert found.labels_needed is None
    assert "no number" in found.summary()


def test_fewer_labels_than_the_policy_wants_certify_nothing() -> None:
    scores, losses = a_sample(500)

    found = certified(scores, losses, "dataset_error", min_n=600)

    assert not found.is_certified
    assert found.labels_needed == 100
    assert certified(scores, losses, "dataset_error", min_n=500).is_certified


def test_where_everything_is_accepted_the_bound_is_that_of_the_errors_seen() -> None:
    rng = np.random.default_rng(8)
    scores, losses = rng.random(2_000), (rng.random(2_000) < 0.01).astype(float)

    for mode in ("dataset_error", "accepted_error"):
        found = certified(scores, losses, mode)
        errors = int(losses[scores >= found.threshold].sum())
        assert found.coverage > 0.99
        assert found.bound == pytest.approx(upper_bound(errors, found.n_accepted, delta=0.05), rel=1e-3)


def test_the_grid_and_the_start_do_not_look_at_the_labels() -> None:
    pool = a_sample(5_000, 1)[0]
    one, other = a_sample(700, 2), a_sample(700, 3)

    steps = [accepted_error.ladder(Sample(*sample), pool, alpha=0.05, delta=0.05) for sample in (one, other)]

    assert np.array_equal(steps[0].thresholds, steps[1].thresholds)
    assert np.array_equal(steps[0].shares, steps[1].shares)
    assert set(steps[0].thresholds.tolist()) <= set(pool.tolist())


@given(
    n=st.integers(1, 5_000),
    levels=st.integers(1, 200),
    start=st.none() | st.floats(-0.5, 1.5) | st.just(math.inf),
    delta=st.floats(0.001, 0.3),
)
def test_a_walk_spends_all_of_delta_and_no_more(n: int, levels: int, start: float | None, delta: float) -> None:
    rng = np.random.default_rng(n)
    sample = Sample(np.zeros(n), np.zeros(n))
    pool = np.floor(rng.random(300) * levels) / levels

    steps = accepted_error.ladder(sample, pool, alpha=0.05, delta=delta, start=start)

    assert steps.shares.sum() == pytest.approx(delta)
    assert np.all(steps.shares >= 0.0)
    assert np.all(np.diff(steps.thresholds) < 0)
    assert steps.coverages[-1] == 1.0


def test_a_prior_round_that_misleads_does_not_forbid_everything() -> None:
    scores, losses = a_sample(3_000)
    pool = a_sample(5_000, 1)[0]

    for start in (0.0, float(pool.max()), -5.0, 5.0):
        found = certified(scores, losses, "accepted_error", pool_scores=pool, start=start)
        assert found.coverage > 0.5


def test_groups_of_one_item_are_items() -> None:
    scores, losses = a_sample(500)

    for mode in ("dataset_error", "accepted_error"):
        assert certified(scores, losses, mode, groups=np.arange(500)) == certified(scores, losses, mode)


def test_a_group_is_one_label() -> None:
    scores, losses = np.repeat(np.linspace(0, 1, 200), 5), np.zeros(1_000)

    found = certified(scores, losses, "dataset_error", groups=np.repeat(np.arange(200), 5).astype(str))

    assert found.n == 200
    assert found.n_accepted == 200
    assert found.bound == pytest.approx(upper_bound(0, 200, delta=0.05), rel=1e-6)


def test_every_slice_has_its_own_threshold_and_its_part_of_delta() -> None:
    good, bad = a_sample(1_000, 1), a_sample(1_000, 2, "confwrong")
    scores, losses = np.concatenate([good[0], bad[0]]), np.concatenate([good[1], bad[1]])
    slices = np.repeat(["street", "night"], 1_000)

    found = per_slice(
        scores,
        losses,
        slices,
        mode="dataset_error",
        alpha=0.05,
        delta=0.05,
        pool_scores=np.append(scores, [0.5, 0.6]),
        pool_slices=np.append(slices, ["tunnel", "tunnel"]),
    )

    assert sorted(found) == ["night", "street", "tunnel"]
    assert all(one.delta == pytest.approx(0.05 / 3) for one in found.values())
    assert found["street"] == certify(*good, mode="dataset_error", alpha=0.05, delta=0.05 / 3, pool_scores=good[0])
    assert found["street"].coverage > found["night"].coverage
    assert not found["tunnel"].is_certified
    assert found["tunnel"].labels_needed is not None


def test_a_slice_that_the_pool_lacks_is_certified_on_the_whole_pools_thresholds() -> None:
    scores, losses = a_sample(1_000, 1)
    pool = a_sample(5_000, 2)[0]

    found = per_slice(
        scores,
        losses,
        np.full(1_000, "new"),
        mode="accepted_error",
        alpha=0.05,
        delta=0.05,
        pool_scores=pool,
        pool_slices=np.full(5_000, "old"),
        starts={"new": 0.9},
    )

    assert found["new"].threshold in pool
    assert not found["old"].is_certified


def test_rounds_spend_delta_between_them() -> None:
    spent = [delta_of_round(0.05, number) for number in range(1, 40)]

    assert spent[:2] == [0.025, 0.0125]
    assert sum(spent) <= 0.05
    with pytest.raises(InvalidRequestError, match="from 1"):
        delta_of_round(0.05, 0)


def test_a_summary_says_what_is_promised() -> None:
    scores, losses = a_sample(1_000)

    found = certified(scores, losses, "dataset_error")

    assert found.summary() == (
        f"Accepting scores from {found.threshold:.4g} up, {found.coverage:.1%} of all items, leaves at most 5.00% of "
        "the finished data set wrong with probability 95.0% (1000 labels)."
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scores": np.array([0.1, np.nan])}, "finite"),
        ({"scores": np.array([[0.1, 0.2]])}, "finite"),
        ({"losses": np.array([0.0])}, "one loss per score"),
        ({"losses": np.array([0.0, 1.5])}, r"in \[0, 1\]"),
        ({"losses": np.array([0.0, np.nan])}, r"in \[0, 1\]"),
        ({"groups": np.array(["a"])}, "one group per score"),
        ({"alpha": 0.0}, "alpha must be"),
        ({"delta": 1.0}, "delta must be"),
        ({"pool_scores": None}, "needs pool_scores"),
        ({"pool_scores": np.zeros(0)}, "needs pool_scores"),
        ({"pool_scores": np.array([np.inf])}, "finite"),
        ({"start": math.nan}, "start must be"),
    ],
)
def test_impossible_input_is_refused(changed: dict[str, object], message: str) -> None:
    arguments = {"scores": np.array([0.1, 0.2]), "losses": np.zeros(2)} | changed

    with pytest.raises(InvalidRequestError, match=message) as caught:
        certified(mode="accepted_error", **arguments)  # type: ignore[arg-type]

    assert caught.value.code == "invalid_argument"


def test_slices_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match="one slice per score"):
        per_slice(
            np.zeros(2),
            np.zeros(2),
            np.array(["a"]),
            mode="dataset_error",
            alpha=0.05,
            delta=0.05,
            pool_scores=np.zeros(2),
            pool_slices=np.array(["a", "b"]),
        )
