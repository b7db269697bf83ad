"""Trains the demo speech recogniser: a Whisper of five layers that knows thirty spoken words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from models.demo.espeak import SpokenWord
from models.demo.speech import PARTS, WORDS, a_silent_clip, a_training_clip, held_out_clips, write_clips
from models.demo.training import Log

if TYPE_CHECKING:
    from transformers import WhisperForConditionalGeneration, WhisperTokenizer

CLIPS, SILENT_CLIPS, HELD_OUT_CLIPS = 12_000, 500, 80
FULL_FRAMES = 3_000  # Whisper's 30 s at 100 frames a second
SHORT_STEPS, SHORT_BATCH, SHORT_RATE = 2_200, 32, 1.5e-3
LONG_STEPS, LONG_FRAMES_PER_BATCH, LONG_RATE = 2_000, 15_000, 8e-4
GUIDED_HEADS = 2  # of the last decoder layer
MELS = 80
VOCAL_TRACT = 0.12  # how much longer or shorter a speaker's vocal tract may become
_TIMESTAMPS = 1_501  # <|0.00|> … <|30.00|>, as every Whisper has them


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A recording as the network sees it: (80, frames) float16 log-mel features, token ids, and word times."""

    features: np.ndarray
    tokens: tuple[int, ...]
    words: tuple[SpokenWord, ...]


def train(folder: Path, *, seed: int) -> None:
    """Makes the data, trains, converts to CTranslate2 and writes the weights, the log and the held-out clips.

    The encoder sees windows as long as the clips first, which is cheap. Its positions are sinusoids, so it can then be
    widened without new parameters: every other batch then has windows of up to Whisper's 30 s and one to three commands
    in a row, so that the network learns what to ignore.
    Because espeak-ng tells when each word is said, two more losses help. A second head, thrown away afterwards, learns
    to name the word of every 20 ms. In long windows, two attention heads learn to look at a word's time when they
    predict it (Tachibana et al. 2018, guided attention); word times are read from these heads.
    """
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rng, log = np.random.default_rng(seed), Log(folder / "training.jsonl")
    tokenizer = make_tokenizer()
    examples = make_examples(tokenizer, seed=seed)
    model = make_model(tokenizer)
    log.note(phase="data", clips=len(examples), parameters=sum(p.numel() for p in model.parameters()))
    trainer = Trainer(model, rng=rng, log=log)
    trainer.run("short", short_batches(examples, rng=rng), steps=SHORT_STEPS, rate=SHORT_RATE, guide=0.0)
    trainer.run("long", mixed_batches(examples, rng=rng), steps=LONG_STEPS, rate=LONG_RATE, guide=1.0)
    export(model, tokenizer, folder=folder)
    write_held_out(folder / "held_out", seed=seed + 1)


def write_held_out(folder: Path, *, seed: int) -> None:
    """Writes the clips that the demo is measured on, Opus-coded so that they fit into the repository."""
    for part in PARTS:
        (folder / part / "manifest.jsonl").unlink(missing_ok=True)
        write_clips(held_out_clips(part, n=HELD_OUT_CLIPS, seed=seed), folder / part, name=part, suffix=".ogg")


def make_tokenizer() -> WhisperTokenizer:
    """A byte-level BPE in which each known word is one token, and Whisper's special tokens behind it."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import WhisperTokenizer

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, min_frequency=1, initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator([f" {word}" for word in WORDS], trainer)
    names = ("endoftext", "startoftranscript", "en", "translate", "transcribe", "startoflm", "startofprev", "nospeech")
    special = [f"<|{name}|>" for name in (*names, "notimestamps")]
    bpe.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    times = [f"<|{index * 0.02:.2f}|>" for index in range(_TIMESTAMPS)]
    bpe.add_tokens([AddedToken(token, special=False, normalized=False) for token in times])
    with TemporaryDirectory() as scratch:
        bpe.save(f"{scratch}/tokenizer.json")
        return WhisperTokenizer.from_pretrained(scratch, additional_special_tokens=special[1:])


def token_id(tokenizer: WhisperTokenizer, name: str) -> int:
    """The id of a special token named without its brackets."""
    found = tokenizer.convert_tokens_to_ids(f"<|{name}|>")
    if not isinstance(found, int):
        raise TypeError(f"the tokenizer has no single token <|{name}|>")
    return found


def make_examples(tokenizer: WhisperTokenizer, *, seed: int) -> list[Example]:
    """Training examples, spoken by two processes."""
    jobs = [(seed, share, CLIPS // 20, SILENT_CLIPS // 20) for share in range(20)]
    with ProcessPoolExecutor(max_workers=2) as pool:
        spoken = [one for share in pool.map(_speak, jobs) for one in share]
    return [
        Example(features=features, tokens=tuple(tokenizer.encode(text, add_special_tokens=False)), words=words)
        for text, features, words in spoken
    ]


def _speak(job: tuple[int, int, int, int]) -> list[tuple[str, np.ndarray, tuple[SpokenWord, ...]]]:
    from faster_whisper.feature_extractor import FeatureExtractor

    seed, share, clips, silent_clips = job
    rng, extract = np.random.default_rng([seed, share]), FeatureExtractor(feature_size=MELS)
    made = [a_training_clip(rng) for _ in range(clips)] + [a_silent_clip(rng) for _ in range(silent_clips)]
    texts = [f" {clip.text}" if clip.text else "" for clip in made]
    features = [extract(clip.samples)[..., :-1].astype(np.float16) for clip in made]
    return [(text, mel, clip.words) for text, mel, clip in zip(texts, features, made, strict=True)]


def short_batches(examples: list[Example], *, rng: np.random.Generator) -> Iterator[tuple[list[Example], int]]:
    """Endless batches of clips of similar length, and their windows in frames, hardly longer than the clips."""
    by_length = sorted(examples, key=lambda example: example.features.shape[1])
    while True:
        first = int(rng.integers(0, len(examples) - SHORT_BATCH))
        batch = by_length[first : first + SHORT_BATCH]
        yield batch, (batch[-1].features.shape[1] + int(rng.integers(2, 120))) // 2 * 2


def long_batches(examples: list[Example], *, rng: np.random.Generator) -> Iterator[tuple[list[Example], int]]:
    """Endless batches of one to three clips in a row, in windows of 6 to 30 s; every third is of 30 s."""
    while True:
        is_full = rng.random() < 1 / 3
        frames = FULL_FRAMES if is_full else int(np.exp(rng.uniform(np.log(600), np.log(FULL_FRAMES))))
        most = 3 if frames > 2_000 else 2 if frames > 1_300 else 1
        count = LONG_FRAMES_PER_BATCH // frames
        indices = [rng.choice(len(examples), rng.integers(1, most + 1)) for _ in range(count)]
        batch = [_in_a_row([examples[index] for index in few]) for few in indices]
        longest = max(example.features.shape[1] for example in batch)
        yield batch, (max(frames, longest) + 1) // 2 * 2


def mixed_batches(examples: list[Example], *, rng: np.random.Generator) -> Iterator[tuple[list[Example], int]]:
    """A batch of short windows, a batch of long ones, and so on."""
    for pair in zip(short_batches(examples, rng=rng), long_batches(examples, rng=rng), strict=True):
        yield from pair


def _in_a_row(parts: Sequence[Example]) -> Example:
    words, shift = list[SpokenWord](), 0.0
    for part in parts:
        words += [replace(word, start_s=word.start_s + shift, end_s=word.end_s + shift) for word in part.words]
        shift += part.features.shape[1] / 100
    return Example(
        features=np.concatenate([part.features for part in parts], axis=1)[:, :FULL_FRAMES],
        tokens=tuple(token for part in parts for token in part.tokens),
        words=tuple(words),
    )


def padded(batch: list[Example], *, frames: int) -> torch.Tensor:
    """(n, 80, frames) float32 features; like faster-whisper, zeros follow the recording."""
    window = np.zeros((len(batch), MELS, frames), dtype=np.float32)
    for row, example in zip(window, batch, strict=True):
        row[:, : example.features.shape[1]] = example.features
    return torch.from_numpy(window)


def augmented(features: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Features as another speaker and another room might give them.

    Each recording gets a longer or shorter vocal tract (Jaitly and Hinton 2013, VTLP), another loudness, and one band
    and one moment blanked out (Park et al. 2019, SpecAugment).
    """
    warped = torch.stack([_with_vocal_tract(row, rng.uniform(1 - VOCAL_TRACT, 1 + VOCAL_TRACT)) for row in features])
    louder = warped + torch.from_numpy(rng.uniform(-0.15, 0.15, (len(features), 1, 1)).astype(np.float32))
    for row in louder:
        band, moment = rng.integers(0, MELS - 12), rng.integers(0, 300)
        row[band : band + rng.integers(0, 12)] = 0.0
        row[:, moment : moment + rng.integers(0, 12)] = 0.0
    return louder


def _with_vocal_tract(features: torch.Tensor, scale: float) -> torch.Tensor:
    """(80, frames) features whose frequencies, in Hz, are divided by ``scale``."""
    centres_hz = _mel_centres_hz()
    sources = np.interp(centres_hz * scale, centres_hz, np.arange(MELS))
    lower = np.minimum(sources.astype(int), MELS - 2)
    share = torch.from_numpy((sources - lower).astype(np.float32))[:, None]
    return torch.lerp(features[lower], features[lower + 1], share)


@cache
def _mel_centres_hz() -> np.ndarray:
    from transformers.audio_utils import hertz_to_mel, mel_to_hertz

    highest = float(hertz_to_mel(8_000.0, mel_scale="slaney"))
    return np.asarray(mel_to_hertz(np.linspace(0, highest, MELS + 2), mel_scale="slaney"))[1:-1]


def make_model(tokenizer: WhisperTokenizer) -> WhisperForConditionalGeneration:
    """A Whisper with three encoder layers, two decoder layers and a width of 96."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    end = token_id(tokenizer, "endoftext")
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        num_mel_bins=MELS,
        d_model=96,
        encoder_layers=3,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=384,
        decoder_ffn_dim=384,
        max_target_positions=448,
        dropout=0.05,
        decoder_start_token_id=token_id(tokenizer, "startoftranscript"),
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
    )
    return WhisperForConditionalGeneration(config)


def widen(model: WhisperForConditionalGeneration, *, frames: int) -> None:
    """Makes the encoder take windows of another length; its positions are sinusoids and need no training."""
    from transformers.models.whisper.modeling_whisper import sinusoids

    positions = frames // 2
    encoder = model.model.encoder
    model.config.max_source_positions = encoder.config.max_source_positions = positions
    table = sinusoids(positions, model.config.d_model)
    encoder.embed_positions = nn.Embedding.from_pretrained(table, freeze=True)


def targets(batch: list[Example], model: WhisperForConditionalGeneration) -> tuple[torch.Tensor, torch.Tensor]:
    """Decoder inputs and labels, (n, tokens + 2) int64; label -100 is not scored.

    The prompt is <|startoftranscript|><|notimestamps|>: CTranslate2 takes a vocabulary this small for English-only.

    At the first position the label says whether anything is spoken at all, which is where Whisper's no-speech
    probability is read.
    """
    notimestamps = model.config.vocab_size - _TIMESTAMPS - 1
    nospeech, (start, end) = notimestamps - 1, (notimestamps - 7, notimestamps - 8)
    length = max(len(example.tokens) for example in batch) + 2
    inputs = torch.full((len(batch), length), end)
    labels = torch.full((len(batch), length), -100)
    for row, example in enumerate(batch):
        inputs[row, : len(example.tokens) + 2] = torch.tensor([start, notimestamps, *example.tokens])
        first = notimestamps if example.tokens else nospeech
        labels[row, : len(example.tokens) + 2] = torch.tensor([first, *example.tokens, end])
    return inputs, labels


def words_of_frames(batch: list[Example], *, frames: int) -> torch.Tensor:
    """(n, frames / 2) int64: 1 + the index of the word that is said at each encoder position, 0 for none."""
    said = torch.zeros(len(batch), frames // 2, dtype=torch.int64)
    for row, example in zip(said, batch, strict=True):
        for word in example.words:
            row[int(word.start_s * 50) : int(word.end_s * 50)] = 1 + WORDS.index(word.text)
    return said


def times_of_tokens(batch: list[Example], *, size: Sequence[int]) -> torch.Tensor:
    """(n, tokens + 2, positions) bool: the encoder positions at which the word that a row predicts is said."""
    rows, tokens, _, positions = size
    times = torch.zeros(rows, tokens, positions, dtype=torch.bool)
    for row, example in zip(times, batch, strict=True):
        for index, word in enumerate(example.words):
            row[1 + index, int(word.start_s * 50) : int(word.end_s * 50) + 1] = True
    return times


class Trainer:
    """The network in training, with the second head that names the word of every 20 ms."""

    def __init__(self, model: WhisperForConditionalGeneration, *, rng: np.random.Generator, log: Log) -> None:
        self._model, self._rng, self._log = model, rng, log
        self._names_word = nn.Linear(model.config.d_model, 1 + len(WORDS))
        self._looking: Any = model.model.decoder.layers[-1].encoder_attn
        self._looking.register_forward_pre_hook(self._remember, with_kwargs=True)
        self._seen = dict[str, torch.Tensor]()

    def _remember(self, _: nn.Module, args: tuple[torch.Tensor, ...], inputs: dict[str, torch.Tensor]) -> None:
        self._seen = {"queries": args[0], "keys": inputs["key_value_states"]}

    def run(
        self, phase: str, batches: Iterator[tuple[list[Example], int]], *, steps: int, rate: float, guide: float
    ) -> None:
        """Trains on ``steps`` batches; the learning rate climbs to ``rate`` and falls to nothing.

        ``guide`` weighs the loss of where attention looks.
        """
        weights = torch.tensor([1.0, 1.0, guide])
        parameters = [*self._model.train().parameters(), *self._names_word.parameters()]
        optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=rate, total_steps=steps, pct_start=0.15)
        losses = list[list[float]]()
        for step, (batch, frames) in enumerate(islice(batches, steps), start=1):
            loss = self._losses(batch, frames)
            optimiser.zero_grad()
            (loss * weights).sum().backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            schedule.step()
            losses.append(loss.tolist())
            if step % 50 == 0:
                means = np.mean(losses[-50:], axis=0).round(4).tolist()
                self._log.note(phase=phase, step=step, **dict(zip(("loss", "frames", "attention"), means, strict=True)))
        widen(self._model.eval(), frames=FULL_FRAMES)

    def _losses(self, batch: list[Example], frames: int) -> torch.Tensor:
        """(3,): of the next token, of the word said at each position, of where attention looks."""
        widen(self._model, frames=frames)
        inputs, labels = targets(batch, self._model)
        features = augmented(padded(batch, frames=frames), self._rng)
        output = self._model(input_features=features, decoder_input_ids=inputs)
        named = self._names_word(output.encoder_last_hidden_state)
        said = words_of_frames(batch, frames=frames)
        cross_entropy = nn.functional.cross_entropy
        losses = (
            cross_entropy(output.logits.flatten(0, 1), labels.flatten()),
            cross_entropy(named.flatten(0, 1), said.flatten()),
            self._attention_loss(batch),
        )
        return torch.stack(losses)

    def _attention_loss(self, batch: list[Example]) -> torch.Tensor:
        """−log of the attention that the guided heads give to a word's own time, averaged over words."""
        queries, keys = self._looking.q_proj(self._seen["queries"]), self._looking.k_proj(self._seen["keys"])
        heads = self._looking.num_heads
        queries = queries.unflatten(-1, (heads, -1))[:, :, :GUIDED_HEADS]  # (n, tokens + 2, guided, d)
        keys = keys.unflatten(-1, (heads, -1))[:, :, :GUIDED_HEADS]  # (n, positions, guided, d)
        attention = (torch.einsum("nthd,nphd->nthp", queries, keys) * queries.shape[-1] ** -0.5).softmax(dim=-1)
        when = times_of_tokens(batch, size=attention.shape)[:, :, None]
        found = (attention * when).sum(dim=-1)[when.any(dim=-1).expand(-1, -1, GUIDED_HEADS)]
        return -found.clamp(min=1e-6).log().mean() if len(found) else attention.new_zeros(())


def export(model: WhisperForConditionalGeneration, tokenizer: WhisperTokenizer, *, folder: Path) -> None:
    """Converts the network to CTranslate2, in half precision on disk."""
    from ctranslate2.converters import TransformersConverter
    from transformers import GenerationConfig, WhisperFeatureExtractor

    model.generation_config = GenerationConfig(
        alignment_heads=[[model.config.decoder_layers - 1, head] for head in range(GUIDED_HEADS)],
        begin_suppress_tokens=[],
        suppress_tokens=[],
        lang_to_id={"<|en|>": token_id(tokenizer, "en")},
        decoder_start_token_id=model.config.decoder_start_token_id,
        eos_token_id=model.config.eos_token_id,
        pad_token_id=model.config.pad_token_id,
    )
    copied = ["tokenizer.json", "preprocessor_config.json"]
    with TemporaryDirectory() as scratch:
        model.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        WhisperFeatureExtractor(feature_size=MELS).save_pretrained(scratch)
        converter = TransformersConverter(scratch, copy_files=copied)
        converted = Path(scratch) / "converted"
        converter.convert(str(converted), quantization="float16")
        for path in converted.iterdir():
            path.replace(folder / path.name)
