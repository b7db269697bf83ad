"""Compares our speech adapter behind the engine with faster-whisper's own sequential transcription."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks.ratio import Ratio, interleaved
from benchmarks.ratios.arms import ArmsDiffer, check_equal, spoken_words, through_engine
from models.adapter import load
from models.card import BatchLimits, ModelCard, read_card
from models.demo.evaluate_language import held_out_clips
from models.networks.whisper import write_random_network
from models.speech_windows import SAMPLE_RATE_HZ, WINDOW_S
from models.types import Content, Prediction

CARD = Path(__file__).parents[2] / "models" / "demo" / "weights" / "speech" / "card.yaml"
WHISPER_TINY: dict[str, Any] = {
    "vocab_size": 51_865,
    "num_mel_bins": 80,
    "d_model": 384,
    "encoder_layers": 4,
    "encoder_attention_heads": 6,
    "encoder_ffn_dim": 1536,
    "decoder_layers": 4,
    "decoder_attention_heads": 6,
    "decoder_ffn_dim": 1536,
}
_TOKENS = 48
_PAUSE_S = 0.3
_MOST_OTHER_WORDS = 1 / 30


def measure(*, quick: bool) -> Ratio:
    """The demo's network on its held-out commands, in windows as long as its card says.

    In the details: the same network in windows of 30 s, which is what batches alone gain, and an untrained network of
    Whisper-tiny's size in such windows.
    """
    card, heard = read_card(CARD), recordings(16 if quick else 64, commands=1)
    trained = compare(card, heard, rounds=3 if quick else 7)
    full = compare(with_window(card, WINDOW_S), heard, rounds=1 if quick else 5)
    with tempfile.TemporaryDirectory(prefix="prelabel-whisper-") as folder:
        random = random_card(Path(folder), WHISPER_TINY)
        larger = compare(random, recordings(6 if quick else 16, commands=3), rounds=1 if quick else 5)
    told = _told("windows_of_30_s", full) | _told("whisper_tiny_size", larger)
    return replace(trained, details=trained.details | told | {"whisper_tiny_size_max_new_tokens": _TOKENS})


def _told(name: str, ratio: Ratio) -> dict[str, str | float | int]:
    """A comparison beside the judged one, for its details."""
    return {
        f"{name}_median": round(ratio.median, 3),
        f"{name}_low": round(ratio.low, 3),
        f"{name}_high": round(ratio.high, 3),
        f"{name}_rounds": len(ratio.rounds.ours),
        f"{name}_stolen": max(ratio.rounds.stolen),
        f"{name}_recordings": ratio.details["recordings"],
        f"{name}_same": ratio.details["same"],
    }


def with_window(card: ModelCard, seconds: int) -> ModelCard:
    """The card with the shortest window that its encoder sees."""
    return replace(card, options=dict(card.options) | {"shortest_window_s": seconds})


def compare(card: ModelCard, contents: Sequence[Content], *, rounds: int) -> Ratio:
    """The ratio over recordings: the same weights, beam, voice detection, words and compute threads in both arms.

    The peer's window is 30 s always. Where ours is as long, both must hear the same words; where it is shorter, the
    encoder's answer differs a little, and at most one word in thirty may come out otherwise, for better or worse.
    """
    # faster-whisper has the garbage collector look through all objects for each file, also through those that only
    # this program made.
    gc.collect()
    gc.freeze()
    ours, peer = _ours(card), _sequential(card)
    window_s = int(card.options.get("shortest_window_s") or WINDOW_S)
    same = same_words([spoken_words(prediction) for prediction in ours(contents)], peer(contents), window_s)
    measured = interleaved(
        lambda: _recordings_per_s(ours, contents),
        lambda: _recordings_per_s(peer, contents),
        rounds=rounds,
        warm_up=0,  # the comparison of the words has warmed up both arms
    )
    return Ratio(
        name="speech_batched",
        ours=f"engine, windows of {window_s} s and more",
        peer="faster-whisper, WhisperModel.transcribe",
        unit="recordings/s",
        rounds=measured,
        bar=1.5,
        aim=2.5,
        details={
            "recordings": len(contents),
            "network": card.name,
            "batch_size": card.limits.max_items,
            "shortest_window_s": window_s,
            "beam_size": card.options["beam_size"] or 0,
            "max_new_tokens": card.options["max_new_tokens"] or 0,
            "vad": "silero on both sides, the same options",
            "compute_threads": _threads(card),
            "faster-whisper": version("faster-whisper"),
            "ctranslate2": version("ctranslate2"),
            "same": same,
        },
    )


def same_words(ours: Sequence[Sequence[str]], peers: Sequence[Sequence[str]], window_s: int) -> str:
    """What both arms heard alike, in words.

    Raises:
        ArmsDiffer: more differs than the windows explain.
    """
    if window_s == WINDOW_S:
        return f"all {check_equal(ours, peers, what='words')} words equal"
    import jiwer

    output = jiwer.process_words([" ".join(words) for words in peers], [" ".join(words) for words in ours])
    count, others = sum(map(len, peers)), output.substitutions + output.deletions + output.insertions
    if others > _MOST_OTHER_WORDS * count:
        raise ArmsDiffer(f"{others} of {count} words differ; windows of {window_s} s are too short for this network")
    return f"{others} of {count} words differ, as the window is shorter"


def random_card(folder: Path, architecture: dict[str, Any]) -> ModelCard:
    """A network of a size with random weights, written into the folder, that always speaks as many tokens as it may."""
    write_random_network(folder, architecture, is_int8=False)
    return replace(
        read_card(CARD),
        name="random-whisper",
        weights=str(folder),
        limits=BatchLimits(max_items=16),
        options={"vad": True, "language": "en", "beam_size": 5, "max_new_tokens": _TOKENS},
    )


def recordings(count: int, *, commands: int) -> list[Content]:
    """Held-out recordings as FLAC, each of several spoken commands, in turn."""
    clips = [payload.samples for payload, _ in held_out_clips("clean")]
    pause = np.zeros(round(_PAUSE_S * SAMPLE_RATE_HZ), dtype=np.float32)
    chosen = ([clips[(index * commands + k) % len(clips)] for k in range(commands)] for index in range(count))
    return [_flac(np.concatenate([part for clip in own for part in (clip, pause)])) for own in chosen]


def _flac(samples: np.ndarray) -> Content:
    file = BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE_HZ, format="FLAC")
    return Content(media="audio", data=file.getvalue())


def _ours(card: ModelCard) -> Callable[[Sequence[Content]], list[Prediction]]:
    adapter = load(card, Path(card.weights))
    return lambda contents: through_engine(adapter, contents, limits=card.limits, cpu_threads=1).predictions


def _sequential(card: ModelCard) -> Callable[[Sequence[Content]], list[list[str]]]:
    """One recording after the other, as its documentation shows it, without the sampling that ours does not do.

    The recordings fit into one window, so that their first segment holds everything. Asked for words, faster-whisper
    would hear what follows the last one again, as another window: that costs it as much again and repeats words.
    """
    from faster_whisper import WhisperModel
    from faster_whisper.vad import VadOptions

    model = WhisperModel(card.weights, device="cpu", compute_type="float32", cpu_threads=_threads(card))
    options: dict[str, Any] = {
        **{name: card.options[name] for name in ("language", "beam_size", "max_new_tokens")},
        "vad_filter": True,
        "vad_parameters": VadOptions(max_speech_duration_s=30, min_silence_duration_ms=1000),
        "word_timestamps": True,
        "without_timestamps": True,
        "temperature": 0.0,
        "condition_on_previous_text": False,
    }

    def transcribe(content: Content) -> list[str]:
        segments, _ = model.transcribe(BytesIO(content.data), **options)
        first = next(iter(segments), None)
        return [word.word.strip() for word in (first and first.words) or ()]

    return lambda contents: [transcribe(content) for content in contents]


def _threads(card: ModelCard) -> int:
    return max(1, int(card.num_cpus))


def _recordings_per_s(hear: Callable[[Sequence[Content]], object], contents: Sequence[Content]) -> float:
    start = time.perf_counter()
    hear(contents)
    return len(contents) / (time.perf_counter() - start)
