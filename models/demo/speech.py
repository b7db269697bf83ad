"""Makes spoken commands: their texts, their voices, their rooms."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from models.demo.espeak import SAMPLE_RATE_HZ, Speech, SpokenWord, Voice, espeak

Part = Literal["clean", "noisy", "out_of_domain"]
PARTS: tuple[Part, ...] = ("clean", "noisy", "out_of_domain")

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
COMMANDS = (
    "open", "close", "door", "light", "on", "off", "turn", "left", "right", "up",
    "down", "go", "stop", "play", "next", "then", "call", "set", "timer", "and",
)  # fmt: skip
WORDS = (*DIGITS, *COMMANDS)
UNKNOWN_WORDS = (
    "window", "kitchen", "music", "garden", "coffee", "yellow", "green", "slowly", "faster", "monday",
    "table", "number", "please", "again", "morning",
)  # fmt: skip

_ACCENTS = (
    "gmw/en-US", "gmw/en", "gmw/en-GB-x-rp", "gmw/en-GB-scotland", "gmw/en-GB-x-gbclan", "gmw/en-GB-x-gbcwmd",
    "gmw/en-029", "gmw/en-US-nyc",
)  # fmt: skip
TRAINING_VARIANTS = (
    "Alex", "Alicia", "Andrea", "Andy", "Annie", "Denis", "Diogo", "Gene", "Henrique", "Hugo", "Jacky", "Lee",
    "Michael", "Mike", "Nguyen", "antonio", "aunty", "belinda", "benjamin", "boris", "caleb", "david", "ed", "edward",
    "f1", "f2", "f4", "m1", "m2", "m3", "m5", "m6", "m8", "linda", "max", "michel", "norbert", "pablo", "paul", "pedro",
    "rob", "robert", "shelby", "steph", "victor", "zac",
)  # fmt: skip
HELD_OUT_VARIANTS = ("f3", "f5", "m4", "m7", "Marco", "adam", "quincy", "sandro", "travis", "miguel")
FAR_VARIANTS = ("whisper", "whisperf", "croak", "klatt2", "klatt4", "Demonic", "UniRobot", "robosoft3", "grandma")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A recording of a known text: (n,) float32 in [-1, 1] at 16 kHz, and when each word is said."""

    text: str
    voice: str
    samples: np.ndarray
    words: tuple[SpokenWord, ...]


def is_held_out(text: str) -> bool:
    """Whether a text belongs to evaluation; every fifth does, and training skips it."""
    return zlib.crc32(text.encode()) % 5 == 0


def a_command(rng: np.random.Generator) -> str:
    """One or two spoken commands of 2 to 8 words; one text in four is words in random order."""
    if rng.random() < 0.25:
        return " ".join(rng.choice(WORDS, size=rng.integers(2, 8)))
    phrases = [_phrase(rng)]
    if rng.random() < 0.4:
        phrases.append(_phrase(rng))
    return f" {rng.choice(['and', 'then'])} ".join(phrases)


def _phrase(rng: np.random.Generator) -> str:
    digits = " ".join(rng.choice(DIGITS, size=rng.integers(1, 4)))
    templates = (
        f"{rng.choice(['open', 'close'])} door {digits}",
        f"turn {rng.choice(['on', 'off'])} light {digits}",
        f"light {digits} {rng.choice(['on', 'off'])}",
        f"turn {rng.choice(['left', 'right'])}",
        f"go {rng.choice(['up', 'down', 'left', 'right'])} {digits}",
        f"set timer {digits}",
        f"call {digits} {rng.choice(DIGITS)} {rng.choice(DIGITS)}",
        f"play {rng.choice(['next', digits])}",
        f"{rng.choice(['stop', 'stop timer', 'go on', 'go next', 'set light'])} {digits}",
    )
    return str(rng.choice(templates))


def _text(rng: np.random.Generator, *, held_out: bool) -> str:
    while is_held_out(text := a_command(rng)) != held_out:
        pass
    return text


def _with_unknown_words(text: str, rng: np.random.Generator) -> str:
    return " ".join(str(rng.choice(UNKNOWN_WORDS)) if rng.random() < 0.2 else word for word in text.split())


def a_voice(rng: np.random.Generator, *, variants: tuple[str, ...]) -> Voice:
    """An English voice of everyday speed and pitch."""
    return Voice(
        name=f"{rng.choice(_ACCENTS)}+{rng.choice(variants)}",
        rate_wpm=int(rng.integers(130, 195)),
        pitch=int(rng.integers(30, 75)),
        pitch_range=int(rng.integers(35, 70)),
        word_gap_10ms=int(rng.integers(0, 6)),
    )


def a_far_voice(rng: np.random.Generator) -> Voice:
    """A voice unlike any of training: whispering, croaking or robotic, hurried or dragging, very high or very low."""
    return replace(
        a_voice(rng, variants=FAR_VARIANTS),
        rate_wpm=int(rng.choice([95, 110, 225, 250])),
        pitch=int(rng.choice([5, 15, 85, 95])),
    )


def noise(count: int, rng: np.random.Generator) -> np.ndarray:
    """(count,) float32 noise of unit power whose spectrum falls with a random slope, between white and brown."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    slope = rng.uniform(0.0, 1.0)
    spectrum /= np.maximum(np.arange(len(spectrum)), 20.0) ** slope
    wave = np.fft.irfft(spectrum, count)
    return (wave / max(float(wave.std()), 1e-9)).astype(np.float32)


def add_noise(samples: np.ndarray, *, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """The samples with noise at a signal-to-noise ratio in decibels."""
    power = float(np.sqrt((samples**2).mean()))
    return samples + noise(len(samples), rng) * power * 10 ** (-snr_db / 20)


def reverberate(samples: np.ndarray, *, decay_s: float, rng: np.random.Generator) -> np.ndarray:
    """The samples in a room whose echo falls by 60 dB in decay_s."""
    times = np.arange(int(decay_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    echo = rng.standard_normal(len(times)) * np.exp(-6.9 * times / decay_s) * 0.05
    echo[0] = 1.0
    size = len(samples) + len(echo)
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(echo, size), size)
    return wet[: len(samples)].astype(np.float32)


def _between_pauses(speech: Speech, rng: np.random.Generator) -> Speech:
    before_s, after_s = rng.uniform(0.1, 0.5, size=2)
    samples = np.pad(speech.samples, (int(before_s * SAMPLE_RATE_HZ), int(after_s * SAMPLE_RATE_HZ)))
    shift = round(float(before_s), 3)
    words = tuple(
        SpokenWord(text=word.text, start_s=round(word.start_s + shift, 3), end_s=round(word.end_s + shift, 3))
        for word in speech.words
    )
    return Speech(samples=samples, words=words)


def _levelled(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    peak = float(np.abs(samples).max(initial=1e-6))
    return (samples / peak * rng.uniform(0.25, 0.9)).astype(np.float32)


def a_training_clip(rng: np.random.Generator) -> Clip:
    """A training text in a training voice, in a quiet room."""
    text, voice = _text(rng, held_out=False), a_voice(rng, variants=TRAINING_VARIANTS)
    speech = _between_pauses(espeak().say(text, voice), rng)
    samples = add_noise(speech.samples, snr_db=rng.uniform(18, 45), rng=rng)
    return Clip(text=text, voice=voice.name, samples=_levelled(samples, rng), words=speech.words)


def a_silent_clip(rng: np.random.Generator) -> Clip:
    """A recording of nothing: a quiet or a humming room."""
    count = int(rng.uniform(0.5, 4.0) * SAMPLE_RATE_HZ)
    samples = noise(count, rng) * 10 ** rng.uniform(-4.0, -1.3) * float(rng.random() < 0.8)
    return Clip(text="", voice="", samples=samples.astype(np.float32), words=())


def a_held_out_clip(part: Part, rng: np.random.Generator) -> Clip:
    """A clip of an evaluation part: neither its text nor its voice occurs in training.

    clean: a quiet room, as in training. noisy: noise at 2 to 10 dB and an echo. out_of_domain: a far voice, and one
    word in five that the model does not know.
    """
    text = _text(rng, held_out=True)
    if part == "out_of_domain":
        text, voice = _with_unknown_words(text, rng), a_far_voice(rng)
    else:
        voice = a_voice(rng, variants=HELD_OUT_VARIANTS)
    speech = _between_pauses(espeak().say(text, voice), rng)
    if part == "noisy":
        echoing = reverberate(speech.samples, decay_s=rng.uniform(0.2, 0.5), rng=rng)
        samples = add_noise(echoing, snr_db=rng.uniform(2, 10), rng=rng)
    else:
        samples = add_noise(speech.samples, snr_db=rng.uniform(25, 45), rng=rng)
    return Clip(text=text, voice=voice.name, samples=_levelled(samples, rng), words=speech.words)


def held_out_clips(part: Part, *, n: int, seed: int) -> Iterator[Clip]:
    """n clips of a part; the same seed gives the same clips."""
    rng = np.random.default_rng([seed, PARTS.index(part)])
    for _ in range(n):
        yield a_held_out_clip(part, rng)


def write_clips(clips: Iterator[Clip], folder: Path, *, name: str, suffix: Literal[".wav", ".flac", ".ogg"]) -> None:
    """Writes recordings, and appends their true texts and word times to manifest.jsonl.

    The suffix decides the coding: 16-bit PCM, FLAC, or Opus.
    """
    import soundfile

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "manifest.jsonl").open("a", encoding="utf-8") as manifest:
        for index, clip in enumerate(clips):
            file = f"{name}_{index:03d}{suffix}"
            subtype = "OPUS" if suffix == ".ogg" else "PCM_16"
            soundfile.write(folder / file, clip.samples, SAMPLE_RATE_HZ, subtype=subtype)
            entry = {"file": file, "part": name, "text": clip.text, "voice": clip.voice}
            manifest.write(json.dumps(entry | {"words": [asdict(word) for word in clip.words]}) + "\n")
