"""Reads uncertainty off the tag probabilities of a token classifier."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.signals.distributions import normalised_entropy

Spans = Sequence[tuple[int, int]]  # half-open ranges of tokens, none of them empty


def least_token(best_probabilities: np.ndarray, spans: Spans) -> np.ndarray:
    """Score of each span: the lowest probability of its tokens' best tags.

    Args:
        best_probabilities: (T,) in [0, 1].

    Returns:
        (n,) in [0, 1]; higher is safer. The best of the cheap ones: the product says too little of long spans, the
        mean too much (``span_marginals`` is exact, for models with transitions).
    """
    return np.array([best_probabilities[first:last].min() for first, last in spans], dtype=np.float64)


def token_product(best_probabilities: np.ndarray, spans: Spans) -> np.ndarray:
    """Score of each span: the product of the probabilities of its tokens' best tags, as if they were independent.

    Args:
        best_probabilities: (T,) in [0, 1].

    Returns:
        (n,) in [0, 1], at most ``least_token``; higher is safer.
    """
    return np.array([best_probabilities[first:last].prod(dtype=np.float64) for first, last in spans], dtype=np.float64)


def mnlp(best_probabilities: np.ndarray) -> float:
    """Maximum normalised log-probability of the best tag sequence: (1/T) Σ log max_y p(y_t).

    Args:
        best_probabilities: (T,) probability of each token's best tag.

    Returns:
        ≤ 0; higher is safer; 0.0 for no tokens. Shen et al. 2018, §4.
    """
    if best_probabilities.size == 0:
        return 0.0
    return float(np.log(np.clip(best_probabilities.astype(np.float64), 1e-12, 1.0)).mean())


def token_classification(
    distributions: np.ndarray,
    *,
    outside: int,
    span_scores: np.ndarray,
    is_emitted: np.ndarray,
    token_cost: float | None = None,
) -> dict[str, float]:
    """The sentence-level signals of a token classifier.

    Args:
        distributions: (T, K) tag probabilities of each token.
        outside: index of the tag O.
        span_scores: (n,) scores of the spans that were found.
        is_emitted: (n,) bool, the spans that became annotations; the others scored too low.
        token_cost: how long the text is, in whatever it costs to read; None for T.

    Returns:
        min_score (0..1, higher is safer; only with emitted spans), no_miss = Π P(O) over the tokens tagged O · Π (1 −
        score) over the spans held back (0..1, higher is safer), sentence = Π emitted spans · no_miss (0..1, higher is
        safer: without the second part a missed entity is invisible), mnlp (≤ 0, higher is safer), entropy_max,
        entropy_mean (normalised, 0..1, lower is safer), entropy_sum (≥ 0, lower is safer; total token entropy, Settles
        & Craven 2008, over log K), entropy_per_cost = entropy_sum / max(token_cost, T) (0..1, lower is safer: what
        there is to learn for each token that must be read).
    """
    signals: dict[str, float] = {}
    if is_emitted.any():
        signals["min_score"] = float(span_scores[is_emitted].min())
    if len(distributions) == 0:
        sums = {"entropy_max": 0.0, "entropy_mean": 0.0, "entropy_sum": 0.0, "entropy_per_cost": 0.0}
        return signals | {"no_miss": 1.0, "sentence": 1.0, "mnlp": 0.0} | sums
    is_outside = distributions.argmax(axis=1) == outside
    log_outside = np.log(np.clip(distributions[is_outside, outside].astype(np.float64), 1e-12, 1.0)).sum()
    held_back = span_scores[~is_emitted].astype(np.float64)
    log_no_miss = log_outside + np.log(np.clip(1.0 - held_back, 1e-12, 1.0)).sum()
    log_spans = np.log(np.clip(span_scores[is_emitted].astype(np.float64), 1e-12, 1.0)).sum()
    entropies = normalised_entropy(distributions)
    return signals | {
        "no_miss": float(np.exp(log_no_miss)),
        "sentence": float(np.exp(log_no_miss + log_spans)),
        "mnlp": mnlp(distributions.max(axis=1)),
        "entropy_max": float(entropies.max()),
        "entropy_mean": float(entropies.mean()),
        "entropy_sum": float(entropies.sum()),
        "entropy_per_cost": float(entropies.sum() / max(token_cost or 0.0, len(entropies))),
    }
