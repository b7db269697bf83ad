"""Compares our engine on texts of mixed lengths with transformers' own pipeline at batch size 32."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ratio import Ratio, interleaved
from benchmarks.ratios.arms import check_equal, through_engine
from models.adapter import load
from models.card import BatchLimits, ModelCard
from models.demo import sentences
from models.types import Content, Prediction, TextSpan

TOKENIZER = Path(__file__).parents[2] / "models" / "demo" / "weights" / "ner"

_PEER_BATCH = 32
_LIMITS = BatchLimits(max_items=128, max_cost=8192)
_MEDIAN_WORDS, _SIGMA = 24, 0.9
_FEWEST_WORDS, _MOST_WORDS = 3, 250  # the longest has 455 tokens: of more than 512 the pipeline labels only the first
_LONGEST_TOKENS = 512

Spans = set[tuple[int, int, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a BERT is."""

    num_hidden_layers: int = 6
    hidden_size: int = 384
    num_attention_heads: int = 12
    intermediate_size: int = 1536


def measure(*, quick: bool) -> Ratio:
    """Both arms with one compute thread in the network; our tokenizing runs on one more."""
    import torch

    torch.set_num_threads(1)
    return compare(texts(64 if quick else 256), size=Size(), rounds=3 if quick else 7)


def compare(texts: Sequence[str], *, size: Size, rounds: int) -> Ratio:
    """The ratio over the texts, which both arms get in the same, mixed order."""
    import torch

    with tempfile.TemporaryDirectory(prefix="prelabel-ner-") as folder:
        write_network(Path(folder), size)
        ours, peer, lengths = _ours(Path(folder)), _pipeline(Path(folder)), _token_counts(Path(folder), texts)
        entities = check_equal(
            [_spans(prediction) for prediction in ours(texts)],
            [_pipeline_spans(found) for found in peer(texts)],
            what="entities",
        )
        measured = interleaved(
            lambda: _texts_per_s(ours, texts),
            lambda: _texts_per_s(peer, texts),
            rounds=rounds,
            warm_up=0,  # the comparison of the entities has warmed up both arms
        )
    return Ratio(
        name="ner_bucketed",
        ours="engine",
        peer=f"transformers pipeline, batch_size={_PEER_BATCH}",
        unit="texts/s",
        rounds=measured,
        bar=2.0,
        aim=3.0,
        details={
            "texts": len(texts),
            "words": f"lognormal, median {_MEDIAN_WORDS}, sigma {_SIGMA}, {_FEWEST_WORDS} to {_MOST_WORDS}, seed 0",
            "tokens": int(lengths.sum()),
            "longest_tokens": int(lengths.max()),
            "network": f"BERT with random weights: {asdict(size)}",
            "compute_threads": torch.get_num_threads(),
            "max_items": _LIMITS.max_items,
            "max_cost_tokens": _LIMITS.max_cost,
            "transformers": version("transformers"),
            "same": f"all {entities} entities have equal labels and offsets",
        },
    )


def texts(count: int) -> list[str]:
    """Sentences of the demo's domain, cut to numbers of words from a lognormal distribution."""
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(np.log(_MEDIAN_WORDS), _SIGMA, count), _FEWEST_WORDS, _MOST_WORDS).astype(int)
    needed = int(lengths.sum())
    words = " ".join(text.text for text in sentences.held_out_texts("easy", n=needed // 4 + 1, seed=0)).split()
    ends = np.cumsum(lengths)
    return [" ".join(words[end - length : end]) for length, end in zip(lengths, ends, strict=True)]


def write_network(folder: Path, size: Size) -> None:
    """A BERT with random weights and the demo's tokenizer, as Hugging Face saves them.

    The classifier's weights are larger than a fresh network's, so that its tags differ from word to word.
    """
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForTokenClassification

    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    tokenizer.model_max_length = _LONGEST_TOKENS
    tags = dict(enumerate(["O", *(f"{position}-{label}" for label in sentences.LABELS for position in "BI")]))
    config = BertConfig(vocab_size=len(tokenizer), id2label=tags, **asdict(size))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = BertForTokenClassification(config)
        torch.nn.init.normal_(network.classifier.weight, std=0.2)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _ours(folder: Path) -> Callable[[Sequence[str]], list[Prediction]]:
    card = ModelCard(
        name="bert",
        task="ner",
        adapter="token_classification",
        weights=str(folder),
        min_score=0.0,  # the pipeline holds nothing back
        device="cpu",
        limits=_LIMITS,
    )
    adapter = load(card, folder)

    def label(texts: Sequence[str]) -> list[Prediction]:
        contents = [Content(media="text", data=text.encode()) for text in texts]
        return through_engine(adapter, contents, limits=card.limits, cpu_threads=1).predictions

    return label


def _pipeline(folder: Path) -> Callable[[Sequence[str]], list[list[dict[str, Any]]]]:
    """As its documentation shows it; "first" gives whole words the tag of their first token, as ours do."""
    from transformers import pipeline

    run: Any = pipeline("token-classification", model=str(folder), aggregation_strategy="first", device=-1)
    return lambda texts: run(list(texts), batch_size=_PEER_BATCH)


def _texts_per_s(label: Callable[[Sequence[str]], object], texts: Sequence[str]) -> float:
    start = time.perf_counter()
    label(texts)
    return len(texts) / (time.perf_counter() - start)


def _spans(prediction: Prediction) -> Spans:
    return {
        (found.geometry.start, found.geometry.end, found.label)
        for found in prediction.annotations
        if isinstance(found.geometry, TextSpan)
    }


def _pipeline_spans(found: Sequence[dict[str, Any]]) -> Spans:
    return {(entity["start"], entity["end"], entity["entity_group"]) for entity in found}


def _token_counts(folder: Path, texts: Sequence[str]) -> np.ndarray:
    from transformers import AutoTokenizer

    return np.array([len(ids) for ids in AutoTokenizer.from_pretrained(folder)(list(texts))["input_ids"]])
