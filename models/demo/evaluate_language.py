"""Measures the text and speech models of the demo on their held-out parts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.adapter import Adapter
from models.demo import sentences
from models.types import AudioPayload, Payload, Prediction, TextPayload, TextSpan

HELD_OUT_SPEECH = Path(__file__).parent / "weights" / "speech" / "held_out"
_NER_SEED = 20_000  # training draws from seeds near 0
_BATCH = 16


def evaluate_ner(adapter: Adapter[Any, Any], *, part: sentences.Part, n: int) -> dict[str, float]:
    """Exact-match precision, recall and F1 over n held-out texts.

    A predicted entity counts when its start, its end and its label all equal a true one's; counts are summed over all
    texts before dividing (micro average, as in CoNLL-2003).
    """
    texts = list(sentences.held_out_texts(part, n=n, seed=_NER_SEED))
    right, predicted, true = 0, 0, 0
    for text, prediction in zip(texts, _predictions(adapter, [TextPayload(text=t.text) for t in texts]), strict=True):
        wanted, found = {(span.start, span.end, span.label) for span in text.spans}, set(_text_spans(prediction))
        right, predicted, true = right + len(wanted & found), predicted + len(found), true + len(wanted)
    precision, recall = right / max(predicted, 1), right / max(true, 1)
    f1 = 2 * right / max(predicted + true, 1)
    return {"f1": f1, "precision": precision, "recall": recall}


def _text_spans(prediction: Prediction) -> Iterator[tuple[int, int, str]]:
    for annotation in prediction.annotations:
        if isinstance(annotation.geometry, TextSpan):
            yield annotation.geometry.start, annotation.geometry.end, annotation.label


def evaluate_speech(adapter: Adapter[Any, Any], *, part: str, n: int) -> dict[str, float]:
    """Word error rate, and how well word scores tell right words from wrong ones, over the first n held-out clips.

    Texts are compared in lower case without punctuation. auroc: the chance that a right word scores higher than a
    wrong one; 0.5 where all words are right or all wrong. The clips are committed: measuring needs no espeak-ng.
    """
    import jiwer

    clips = held_out_clips(part)[:n]
    predictions = _predictions(adapter, [payload for payload, _ in clips])
    true_texts = [normalised(text) for _, text in clips]
    words = [[(normalised(a.text or ""), a.score) for a in p.annotations if a.label == "word"] for p in predictions]
    said_texts = [" ".join(word for word, _ in said) for said in words]
    output = jiwer.process_words(true_texts, said_texts)
    is_right = [right for chunks in output.alignments for right in _is_right(chunks)]
    scores = [score for said in words for word, score in said for _ in word.split()]
    return {"wer": float(output.wer), "auroc": auroc(np.array(scores), np.array(is_right, dtype=bool))}


def _is_right(chunks: Sequence[Any]) -> Iterator[bool]:
    """Whether each recognised word is right, in order; a left-out word (deletion) has no entry."""
    for chunk in chunks:
        yield from [chunk.type == "equal"] * (chunk.hyp_end_idx - chunk.hyp_start_idx)


def normalised(text: str) -> str:
    """Lower case, letters, digits and apostrophes only, single spaces."""
    return " ".join(re.findall(r"[\w']+", text.lower()))


def auroc(scores: np.ndarray, is_right: np.ndarray) -> float:
    """The chance that a right one's score is above a wrong one's; ties count half (Mann–Whitney)."""
    right, wrong = scores[is_right], scores[~is_right]
    if not len(right) or not len(wrong):
        return 0.5
    above = (right[:, None] > wrong[None, :]).mean() + 0.5 * (right[:, None] == wrong[None, :]).mean()
    return float(above)


def held_out_clips(part: str) -> list[tuple[AudioPayload, str]]:
    """The committed clips of a part, each with its true text."""
    import soundfile

    folder = HELD_OUT_SPEECH / part
    entries = [json.loads(line) for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    recordings = [soundfile.read(folder / entry["file"], dtype="float32") for entry in entries]
    return [
        (AudioPayload(samples=samples, sample_rate_hz=rate_hz), entry["text"])
        for (samples, rate_hz), entry in zip(recordings, entries, strict=True)
    ]


def _predictions(adapter: Adapter[Any, Any], payloads: Sequence[Payload]) -> list[Prediction]:
    found = list[Prediction]()
    for first in range(0, len(payloads), _BATCH):
        batch = payloads[first : first + _BATCH]
        found += adapter.read(adapter.forward(adapter.prepare(batch)), batch)
    return found
