"""Reads uncertainty off what a speech recogniser says of a recording."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

_WORD = re.compile(r"[\w']+")


def word_error_rate(reference: str, hypothesis: str) -> float:
    """Substituted, deleted and inserted words over the words of the reference, without case and punctuation.

    Returns:
        ≥ 0; 0 for the same words; without any in the reference 1 if the other has some. Writing systems without
        spaces count as one word, and this is then 0 or 1. Levenshtein's distance over words, by jiwer.
    """
    import jiwer

    wanted, got = (" ".join(_WORD.findall(text.lower())) for text in (reference, hypothesis))
    if not wanted:
        return 1.0 if got else 0.0
    return float(jiwer.wer(wanted, got))


def expected_wer(hypotheses: Sequence[str], scores: np.ndarray, *, temperature: float = 1.0) -> float:
    """How far the recogniser's other readings are from its best one: Σ P(n)·WER(hyp₁, hypₙ), P = softmax(scores / τ).

    Args:
        hypotheses: N ≥ 1 texts, the chosen one first.
        scores: (N,) their log-probabilities (not divided by length), finite.
        temperature: τ > 0.

    Returns:
        ≥ 0; lower is safer; 0 for a single one. The Bayes risk of the choice over an N-best list (Stolcke et al. 1997;
        Goel & Byrne 2000).
    """
    scaled = scores.astype(np.float64) / temperature
    posterior = np.exp(scaled - scaled.max())
    errors = np.array([word_error_rate(hypotheses[0], text) for text in hypotheses])
    return float(posterior @ errors / posterior.sum())


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
    token_confidences: np.ndarray | None = None,
    expected_errors: float | None = None,
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
        token_confidences: ``tsallis_confidence`` of each token, where the recogniser tells whole distributions.
        expected_errors: ``expected_wer``, where it tells several readings.

    Returns:
        The values under their names (expected_errors as expected_wer), wordless_s but as no_miss = 1 − wordless_s /
        duration_s (0..1, higher is safer) and wordless_share = wordless_s / speech_s (0..1, lower is safer; only with
        speech); with words also min_score, mean_word_score (0..1, higher is safer) and words_per_s, over the seconds of
        speech (≥ 0; what is left out has no word to score, but leaves this low); with confidences tsallis_min,
        tsallis_mean (0..1, higher is safer).
    """
    signals = {
        "mean_logprob": mean_logprob,
        "no_speech": no_speech,
        "compression_ratio": compression_ratio,
        "temperature": temperature,
        "duration_s": duration_s,
        "speech_s": speech_s,
        "no_miss": 1.0 - min(wordless_s / duration_s, 1.0) if duration_s else 1.0,
    }
    if speech_s > 0.0:
        signals["wordless_share"] = min(wordless_s / speech_s, 1.0)
    if len(word_scores):
        signals |= {"min_score": float(word_scores.min()), "mean_word_score": float(word_scores.mean())}
        if speech_s > 0.0:
            signals["words_per_s"] = len(word_scores) / speech_s
    if token_confidences is not None and len(token_confidences):
        signals |= {"tsallis_min": float(token_confidences.min()), "tsallis_mean": float(token_confidences.mean())}
    return signals if expected_errors is None else signals | {"expected_wer": expected_errors}
