"""Trains the demo entity recogniser: a small cased BERT that marks persons, organisations, places and dates."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from models.demo.sentences import LABELS, Sentence, a_training_text
from models.demo.training import Log

if TYPE_CHECKING:
    from transformers import BertForTokenClassification, PreTrainedTokenizerFast

STEPS, BATCH, RATE = 2_000, 32, 1.5e-3
VOCABULARY, VOCABULARY_TEXTS = 1_200, 20_000
MAX_TOKENS = 128
UNKNOWN_SHARE = 0.02  # tokens hidden in training, so that an unknown sign is nothing special
TAGS = ("O", *(f"{prefix}-{label}" for label in LABELS for prefix in "BI"))
_NOT_SCORED = -100


def train(folder: Path, *, seed: int) -> None:
    """Trains on sentences written on the fly, and saves weights, tokenizer and the log."""
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rng, log = np.random.default_rng(seed), Log(folder / "training.jsonl")
    tokenizer = make_tokenizer([a_training_text(rng).text for _ in range(VOCABULARY_TEXTS)])
    model = make_model(tokenizer)
    log.note(parameters=sum(parameter.numel() for parameter in model.parameters()))
    _optimise(
        model, tokenizer, lambda: [a_training_text(rng) for _ in range(BATCH)], steps=STEPS, peak_rate=RATE, log=log
    )
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def fine_tune(
    base: Path, folder: Path, *, sentences: Sequence[Sentence], steps: int, batch: int, peak_rate: float, seed: int
) -> None:
    """Train the network in ``base`` on, with these sentences, and save it with its tokenizer and the log."""
    from transformers import BertForTokenClassification, PreTrainedTokenizerFast
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    model = BertForTokenClassification.from_pretrained(base, local_files_only=True).train()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(base, local_files_only=True)
    _optimise(
        model,
        tokenizer,
        lambda: [sentences[index] for index in rng.integers(len(sentences), size=batch)],
        steps=steps,
        peak_rate=peak_rate,
        log=Log(folder / "training.jsonl"),
    )
    model.eval().save_pretrained(folder)
    for file in base.glob("tokenizer*.json"):
        shutil.copy(file, folder)


def _optimise(
    model: BertForTokenClassification,
    tokenizer: PreTrainedTokenizerFast,
    draw_batch: Callable[[], list[Sentence]],
    *,
    steps: int,
    peak_rate: float,
    log: Log,
) -> None:
    optimiser = torch.optim.AdamW(model.parameters(), lr=peak_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=peak_rate, total_steps=steps, pct_start=0.1)
    losses = list[float]()
    for step in range(1, steps + 1):
        losses.append(_step(model, tokenizer, draw_batch(), optimiser))
        schedule.step()
        if step % 100 == 0:
            log.note(step=step, loss=round(float(np.mean(losses[-100:])), 5))


def _step(
    model: BertForTokenClassification,
    tokenizer: PreTrainedTokenizerFast,
    sentences: list[Sentence],
    optimiser: torch.optim.Optimizer,
) -> float:
    encoded = tokenizer(
        [sentence.text for sentence in sentences],
        padding=True,
        truncation=True,
        max_length=MAX_TOKENS,
        return_offsets_mapping=True,
        return_tensors="pt",
    )
    labels = torch.tensor(
        [
            tags_of(sentence, encoded.word_ids(row), encoded["offset_mapping"][row].tolist())
            for row, sentence in enumerate(sentences)
        ]
    )
    ids = encoded["input_ids"]
    ids = ids.where(torch.rand(ids.shape) > UNKNOWN_SHARE, torch.tensor(tokenizer.unk_token_id))
    loss = model(input_ids=ids, attention_mask=encoded["attention_mask"], labels=labels).loss
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    return loss.item()


def tags_of(sentence: Sentence, word_ids: list[int | None], offsets: list[list[int]]) -> list[int]:
    """The tag of each token; only a word's first token is scored."""
    tags, previous = list[int](), None
    for word, (start, end) in zip(word_ids, offsets, strict=True):
        is_first = word is not None and word != previous
        tags.append(_tag_at(sentence, start, end) if is_first else _NOT_SCORED)
        previous = word
    return tags


def _tag_at(sentence: Sentence, start: int, end: int) -> int:
    inside = next((span for span in sentence.spans if span.start <= start and end <= span.end), None)
    if inside is None:
        return 0
    return TAGS.index(f"{'B' if start == inside.start else 'I'}-{inside.label}")


def make_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """A cased WordPiece tokenizer; its vocabulary is small, so that a name falls into pieces as an unseen one does."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106
    pieces.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pieces.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=VOCABULARY, special_tokens=special, show_progress=False)
    pieces.train_from_iterator(texts, trainer)
    ends = [(token, special.index(token)) for token in ("[CLS]", "[SEP]")]
    pieces.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    names = {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    return PreTrainedTokenizerFast(tokenizer_object=pieces, model_max_length=MAX_TOKENS, **names)


def make_model(tokenizer: PreTrainedTokenizerFast) -> BertForTokenClassification:
    """A BERT with three layers and a width of 96."""
    from transformers import BertConfig, BertForTokenClassification

    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=288,
        max_position_embeddings=MAX_TOKENS,
        type_vocab_size=1,
        pad_token_id=0,
        id2label=dict(enumerate(TAGS)),
        label2id={tag: index for index, tag in enumerate(TAGS)},
    )
    return BertForTokenClassification(config).train()
