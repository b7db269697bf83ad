"""Reads uncertainty off a model's own numbers: pure functions, each with its formula, range, direction and source.

A prediction's ``signals`` carry these values raw, under the names that the functions at the end of each section give
them. pipelines/tasks.py turns them into the named uncertainty vector, where every entry is in [0, 1] and 1 means
"no idea".
"""

from __future__ import annotations

import math

import numpy as np


def binary_entropy(probabilities: np.ndarray) -> np.ndarray:
    """Entropy of independent yes/no scores in bits: H(p) = −p log₂ p − (1−p) log₂(1−p).

    Args:
        probabilities: any shape, in [0, 1].

    Returns:
        Same shape, in [0, 1]; 1 at p = 0.5. Shannon 1948.
    """
    p = np.clip(probabilities.astype(np.float64), 1e-12, 1.0 - 1e-12)
    return -(p * np.log2(p) + (1.0 - p) * np.log2(1.0 - p))


def normalised_entropy(distributions: np.ndarray) -> np.ndarray:
    """Entropy of each distribution over its maximum: −Σ p log p / log K.

    Args:
        distributions: (…, K) on the simplex, K ≥ 2.

    Returns:
        (…,) in [0, 1]; 1 for the uniform distribution. Settles 2009, §3.1.
    """
    p = np.clip(distributions.astype(np.float64), 1e-12, 1.0)
    return np.clip(-(p * np.log(p)).sum(axis=-1) / math.log(p.shape[-1]), 0.0, 1.0)


def margin(distributions: np.ndarray) -> np.ndarray:
    """One minus the gap between the two likeliest classes: 1 − (p₁ − p₂).

    Args:
        distributions: (…, K) scores in [0, 1], K ≥ 2.

    Returns:
        (…,) in [0, 1]; 1 for a tie. Scheffer et al. 2001.
    """
    best_two = np.sort(distributions.astype(np.float64), axis=-1)[..., -2:]
    return 1.0 - (best_two[..., 1] - best_two[..., 0])


def no_miss(scores_below: np.ndarray) -> float:
    """How sure the detector is that it left nothing out: 1 − max score of the boxes that were not emitted.

    Args:
        scores_below: (n,) scores in [0, 1] of the candidates below the emission threshold.

    Returns:
        In [0, 1]; higher is safer; 1.0 when there is no candidate at all.
    """
    return 1.0 - float(scores_below.max(initial=0.0))


def detection(class_scores: np.ndarray, *, is_emitted: np.ndarray) -> dict[str, float]:
    """The item-level signals of a detector.

    Args:
        class_scores: (n, K) sigmoid scores of all candidates (queries or proposals).
        is_emitted: (n,) bool, the candidates that became annotations.

    Returns:
        min_score (0..1, higher is safer; only with boxes), no_miss (0..1, higher is safer),
        entropy_max, entropy_mean (bits, 0..1, lower is safer), margin_max (0..1, lower is safer; needs K ≥ 2).
    """
    best = class_scores.max(axis=1) if class_scores.size else np.zeros(len(class_scores))
    signals = {"no_miss": no_miss(best[~is_emitted])}
    emitted = class_scores[is_emitted]
    if emitted.size:
        entropies = binary_entropy(best[is_emitted])
        signals |= {
            "min_score": float(best[is_emitted].min()),
            "entropy_max": float(entropies.max()),
            "entropy_mean": float(entropies.mean()),
        }
        if emitted.shape[1] > 1:
            signals["margin_max"] = float(margin(emitted).max())
    return signals


def stability(logits: np.ndarray, *, threshold: float = 0.0, offset: float = 1.0) -> np.ndarray:
    """How little a mask changes when its threshold moves: |{l > t + Δ}| / |{l > t − Δ}|.

    Args:
        logits: (n, H, W) mask logits.

    Returns:
        (n,) in [0, 1]; higher is safer; 0 for a mask that is empty at both thresholds.
        segment-anything, utils/amg.py, calculate_stability_score (Kirillov et al. 2023, appendix B).
    """
    inner = (logits > threshold + offset).sum(axis=(1, 2), dtype=np.int64)
    outer = (logits > threshold - offset).sum(axis=(1, 2), dtype=np.int64)
    return np.divide(inner, outer, out=np.zeros(len(logits)), where=outer > 0)


def soft_iou(logits: np.ndarray, *, threshold: float = 0.0) -> np.ndarray:
    """The IoU that the mask's own pixel probabilities predict: Σ_M p / (|M| + Σ_¬M p), M = {l > t}.

    Args:
        logits: (n, H, W) mask logits.

    Returns:
        (n,) in [0, 1]; higher is safer; 0 for an empty mask.
    """
    p = 1.0 / (1.0 + np.exp(-logits.astype(np.float64).clip(-50.0, 50.0)))
    inside = logits > threshold
    expected_intersection = np.where(inside, p, 0.0).sum(axis=(1, 2))
    expected_union = inside.sum(axis=(1, 2)) + np.where(inside, 0.0, p).sum(axis=(1, 2))
    return np.where(inside.any(axis=(1, 2)), expected_intersection / np.maximum(expected_union, 1e-12), 0.0)


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
    distributions: np.ndarray, *, outside: int, span_scores: np.ndarray, is_emitted: np.ndarray
) -> dict[str, float]:
    """The sentence-level signals of a token classifier.

    Args:
        distributions: (T, K) tag probabilities of each token.
        outside: index of the tag O.
        span_scores: (n,) scores of the spans that were found.
        is_emitted: (n,) bool, the spans that became annotations; the others scored too low.

    Returns:
        min_score (0..1, higher is safer; only with emitted spans), no_miss = Π P(O) over the tokens tagged O · Π (1 −
        score) over the spans held back (0..1, higher is safer), sentence = Π emitted spans · no_miss (0..1, higher is
        safer: without the second part a missed entity is invisible), mnlp (≤ 0, higher is safer), entropy_max,
        entropy_mean (normalised, 0..1, lower is safer).
    """
    signals: dict[str, float] = {}
    if is_emitted.any():
        signals["min_score"] = float(span_scores[is_emitted].min())
    if len(distributions) == 0:
        return signals | {"no_miss": 1.0, "sentence": 1.0, "mnlp": 0.0, "entropy_max": 0.0, "entropy_mean": 0.0}
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
    }


def tsallis_confidence(distributions: np.ndarray, *, alpha: float = 0.33) -> np.ndarray:
    """Exponentially normalised Tsallis-entropy confidence of each distribution.

    F = (e^{−H} − e^{−H*}) / (1 − e^{−H*}), H = (Σ p^α − 1)/(1 − α), H* its maximum at the uniform distribution.

    Args:
        distributions: (…, V) on the simplex.

    Returns:
        (…,) in [0, 1]; 1 for a one-hot, 0 for the uniform distribution. Laptev & Ginsburg 2023; NeMo's default.
    """
    p = np.clip(distributions.astype(np.float64), 0.0, 1.0)
    size = p.shape[-1]
    entropy = ((p**alpha).sum(axis=-1) - 1.0) / (1.0 - alpha)
    highest = (size ** (1.0 - alpha) - 1.0) / (1.0 - alpha)
    floor = math.exp(-highest)
    return np.clip((np.exp(-entropy) - floor) / (1.0 - floor), 0.0, 1.0)


def speech(
    word_scores: np.ndarray,
    *,
    mean_logprob: float,
    no_speech: float,
    compression_ratio: float,
    temperature: float,
    duration_s: float,
    speech_s: float,
    wordless_s: float,
) -> dict[str, float]:
    """The recording-level signals of a speech recogniser.

    Args:
        word_scores: (n,) probability of each word.
        mean_logprob: mean log-probability of the emitted tokens, ≤ 0.
        no_speech: the recogniser's probability that nothing is said.
        compression_ratio: of the transcript; above 2.4 it repeats itself (Radford et al. 2022, §4.5).
        temperature: the sampling temperature that was needed; above 0 is evidence of failure.
        duration_s, speech_s: length of the recording, and of the speech that voice detection found in it.
        wordless_s: length of speech for which no words are emitted; a second weighs 1 − no_speech of its window.

    Returns:
        The values under their names but the last, with min_score and mean_word_score (0..1, higher is safer; only with
        words) and no_miss = 1 − wordless_s / duration_s (0..1, higher is safer).
    """
    signals = {
        "mean_logprob": mean_logprob,
        "no_speech": no_speech,
        "compression_ratio": compression_ratio,
        "temperature": temperature,
        "duration_s": duration_s,
        "speech_s": speech_s,
    }
    if len(word_scores):
        signals |= {"min_score": float(word_scores.min()), "mean_word_score": float(word_scores.mean())}
    return signals | {"no_miss": 1.0 - min(wordless_s / duration_s, 1.0) if duration_s else 1.0}
