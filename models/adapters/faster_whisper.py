"""Runs Whisper on CTranslate2 through faster-whisper: what is said, and when each word is said."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field, PositiveInt

from models import cuda_libraries, signals
from models.card import ModelCard, Precision, options_of
from models.embedding import embedding
from models.errors import ItemError, ModelError
from models.networks.whisper import write_random_network
from models.speech_windows import (
    FRAMES_PER_S,
    SAMPLE_RATE_HZ,
    WINDOW_S,
    SpokenWord,
    Window,
    find_speech,
    join_pieces,
    padded_s,
    segments,
    whole,
)
from models.types import Annotation, AudioPayload, Embedding, Payload, Prediction, TimeSpan

if TYPE_CHECKING:
    from ctranslate2 import StorageView
    from faster_whisper import WhisperModel
    from faster_whisper.tokenizer import Tokenizer

logger = logging.getLogger(__name__)

_COMPUTE_TYPES: dict[str, dict[Precision, str]] = {
    "cpu": {"fp32": "float32", "fp16": "float32", "bf16": "float32", "int8": "int8"},
    # With plain int8 the layers that are not quantised would compute in fp32.
    "cuda": {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16", "int8": "int8_float16"},
}
_FEWEST_FRAMES = 100  # find_alignment fails on windows of a frame or two; what it finds in the padding is cut off again
_PREPENDED, _APPENDED = "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、"  # faster-whisper's defaults


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How recordings are cut and heard; see ``load``."""

    vad: bool = True
    language: str | None = None
    beam_size: PositiveInt = 5
    num_hypotheses: PositiveInt = 1
    token_distributions: bool = False
    max_new_tokens: PositiveInt | None = None
    no_speech_threshold: float = 0.6
    log_prob_threshold: float = -1.0
    shortest_window_s: Annotated[int, Field(ge=1, le=WINDOW_S)] = WINDOW_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One item's windows, how long each is for the encoder, and how long the item and the speech in it are."""

    windows: tuple[Window, ...]
    window_s: int
    duration_s: float
    speech_s: float

    @property
    def cost(self) -> float:
        """Seconds that the encoder sees."""
        return float(self.window_s * len(self.windows))


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """What the network heard in one window."""

    text: str
    words: tuple[SpokenWord, ...]
    language: str
    mean_logprob: float
    no_speech: float
    compression_ratio: float
    encoded_sum: np.ndarray | None = None  # (d,) float64 over the window's own frames, where the card wants embeddings
    readings: tuple[tuple[str, float], ...] = ()  # the texts of the beam and their log-probabilities, best first
    token_confidences: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """The recordings of a batch, and the transcript of each of their windows, in order."""

    recordings: Sequence[Recording]
    transcripts: Sequence[Transcript]


class Whisper:
    """A Whisper network that transcribes windows of several recordings at once.

    It calls the stateless parts of faster-whisper's batched pipeline (encode, generate, align). The pipeline itself
    carries the end of the last word from one window to the next, which lets one recording change another's times.
    """

    def __init__(self, card: ModelCard, model: WhisperModel) -> None:
        from faster_whisper.transcribe import get_suppressed_tokens

        self._card, self._model = card, model
        self._options = options_of(card, Options)
        _check_search(card, self._options)
        language = self._options.language
        if language is not None and language not in model.supported_languages:
            raise ModelError(
                "bad_card", f"'{card.name}' does not speak {language!r}; languages: {model.supported_languages}"
            )
        self._language = language if model.model.is_multilingual else "en"
        self._width = self._encoder_width() if card.embeddings else 0
        self._suppressed = get_suppressed_tokens(self._tokenizer("en"), [-1])  # pyright: ignore[reportArgumentType]

    def _encoder_width(self) -> int:
        """How many numbers the encoder says of a frame, which CTranslate2 does not tell before it has encoded some."""
        features = np.zeros((1, self._model.model.n_mels, FRAMES_PER_S), dtype=np.float32)
        return _array(self._model.encode(features)).shape[-1]

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(label for label in map(self._card.label_for, ("speech", "word")) if label)

    def prepare(self, payloads: Sequence[Payload]) -> list[Recording]:
        return [self._recording(payload) for payload in payloads]

    def _recording(self, payload: Payload) -> Recording:
        if not isinstance(payload, AudioPayload):
            raise ItemError("wrong_media", f"got {type(payload).__name__}; '{self._card.name}' labels audio")
        if payload.sample_rate_hz != SAMPLE_RATE_HZ:
            raise ItemError(
                "unreadable_audio", f"got {payload.sample_rate_hz} Hz; wanted {SAMPLE_RATE_HZ}; resample it"
            )
        if not np.isfinite(payload.samples).all():
            raise ItemError("unreadable_audio", "the recording holds samples that are not finite numbers")
        samples = payload.samples.astype(np.float32, copy=False)
        pieces = find_speech(samples) if self._options.vad else whole(len(samples))
        windows = tuple(self._window(samples, joined) for joined in join_pieces(pieces))
        return Recording(
            windows=windows,
            window_s=padded_s(windows, shortest_s=self._options.shortest_window_s),
            duration_s=len(samples) / SAMPLE_RATE_HZ,
            speech_s=sum(end - start for start, end in pieces) / SAMPLE_RATE_HZ,
        )

    def _window(self, samples: np.ndarray, pieces: tuple[tuple[int, int], ...]) -> Window:
        speech = np.concatenate([samples[start:end] for start, end in pieces])
        return Window(features=self._model.feature_extractor(speech)[..., :-1], pieces=pieces)

    def example(self) -> Recording:
        """Two seconds of silence in a window of the longest; voice detection would leave nothing of it."""
        samples = np.zeros(2 * SAMPLE_RATE_HZ, dtype=np.float32)
        window = self._window(samples, ((0, len(samples)),))
        return Recording(windows=(window,), window_s=WINDOW_S, duration_s=window.speech_s, speech_s=window.speech_s)

    def forward(self, batch: Sequence[Recording]) -> Heard:
        languages = dict[int, str]()
        of_item = [list[Transcript]() for _ in batch]
        size = self._card.limits.max_items
        for window_s in sorted({recording.window_s for recording in batch}):
            alike = [(item, own) for item, own in enumerate(batch) if own.window_s == window_s]
            windows = [(item, window) for item, own in alike for window in own.windows]
            for first in range(0, len(windows), size):
                chunk = windows[first : first + size]
                for (item, _), transcript in zip(chunk, self._hear(chunk, window_s, languages), strict=True):
                    of_item[item].append(transcript)
        return Heard(recordings=batch, transcripts=list(itertools.chain.from_iterable(of_item)))

    def _hear(
        self, windows: Sequence[tuple[int, Window]], window_s: int, languages: dict[int, str]
    ) -> list[Transcript]:
        """Transcribes windows, each given with its item; ``languages`` learns the language of each new item."""
        encoded = self._encode([window for _, window in windows], window_s)
        detected = self._detect(encoded, len(windows))
        spoken = [languages.setdefault(item, language) for (item, _), language in zip(windows, detected, strict=True)]
        results = self._generate(encoded, spoken)
        found = dict[int, Transcript]()
        for language in sorted(set(spoken)):  # CTranslate2 aligns one language at a time
            rows = [row for row, own in enumerate(spoken) if own == language]
            own_windows = [windows[row][1] for row in rows]
            own_encoded = encoded if len(rows) == len(windows) else _rows_of(encoded, rows)
            own = self._transcripts(own_windows, own_encoded, [results[row] for row in rows], language)
            found |= zip(rows, own, strict=True)
        return [found[row] for row in range(len(windows))]

    def _encode(self, windows: Sequence[Window], window_s: int = WINDOW_S) -> StorageView:
        """The encoder's answer to the windows, each padded to the same length with zeros."""
        frames = FRAMES_PER_S * window_s
        features = np.zeros((len(windows), self._model.model.n_mels, frames), dtype=np.float32)
        for row, window in zip(features, windows, strict=True):
            count = min(window.features.shape[-1], frames)
            row[:, :count] = window.features[:, :count]
        return self._model.encode(features)

    def _detect(self, encoded: StorageView, count: int) -> list[str]:
        if self._language is not None:
            return [self._language] * count
        return [ranked[0][0][2:-2] for ranked in self._model.model.detect_language(encoded)]  # "<|en|>"

    def _generate(self, encoded: StorageView, spoken: Sequence[str]) -> list[Any]:
        """What is said in each window; windows in several languages differ in one token of their prompts."""
        prompts = [self._model.get_prompt(self._tokenizer(own), [], without_timestamps=True) for own in spoken]
        limit = self._options.max_new_tokens
        longest = self._model.max_length
        return self._model.model.generate(
            encoded,
            prompts,
            beam_size=self._options.beam_size,
            num_hypotheses=self._options.num_hypotheses,
            return_logits_vocab=self._options.token_distributions,
            max_length=min(len(prompts[0]) + limit, longest) if limit else longest,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=list(self._suppressed or ()),
            sampling_temperature=0.0,
        )

    def _transcripts(
        self, windows: Sequence[Window], encoded: StorageView, results: Sequence[Any], language: str
    ) -> list[Transcript]:
        """Texts and times of words of windows in one language."""
        tokenizer = self._tokenizer(language)
        texts = [[token for token in result.sequences_ids[0] if token < tokenizer.eot] for result in results]
        frames = [max(window.features.shape[-1], _FEWEST_FRAMES) for window in windows]
        # The annotations of find_alignment name the element types of these two lists, not the lists.
        aligned: Any = self._model.find_alignment(tokenizer, texts, encoded, frames)  # pyright: ignore[reportArgumentType]
        rows = zip(results, texts, aligned, self._sums(windows, encoded), strict=True)
        return [
            self._judged(_transcript(result, tokenizer.decode(tokens), words, language, encoded_sum), result, tokenizer)
            for result, tokens, words, encoded_sum in rows
        ]

    def _judged(self, transcript: Transcript, result: Any, tokenizer: Tokenizer) -> Transcript:
        """The transcript with what the card asks CTranslate2 to tell beyond it."""
        if self._options.num_hypotheses > 1:
            transcript = replace(transcript, readings=tuple(_readings(result, tokenizer)))
        if self._options.token_distributions:
            transcript = replace(transcript, token_confidences=tuple(_confidences(result)))
        return transcript

    def _sums(self, windows: Sequence[Window], encoded: StorageView) -> Sequence[np.ndarray | None]:
        """The (d,) sums of the encoder's answer over each window's own frames, without what is padding."""
        if not self._card.embeddings:
            return [None] * len(windows)
        array = _array(encoded)  # (n, frames / 2, d)
        return [
            own[: _encoded_frames(window)].sum(axis=0, dtype=np.float64)
            for own, window in zip(array, windows, strict=True)
        ]

    def _embedded(self, recording: Recording, transcripts: Sequence[Transcript]) -> Embedding | None:
        """The mean over all frames that hold speech; zeros where none does."""
        if not self._card.embeddings:
            return None
        sums = [transcript.encoded_sum for transcript in transcripts if transcript.encoded_sum is not None]
        frames = sum(map(_encoded_frames, recording.windows))
        mean = np.sum(sums, axis=0) / frames if frames else np.zeros(self._width)
        return embedding(self._card.name, mean)

    def _tokenizer(self, language: str) -> Tokenizer:
        from faster_whisper.tokenizer import Tokenizer

        is_multilingual = self._model.model.is_multilingual
        return Tokenizer(self._model.hf_tokenizer, is_multilingual, task="transcribe", language=language)

    def read(self, raw: Heard, payloads: Sequence[Payload]) -> list[Prediction]:
        remaining = iter(raw.transcripts)
        heard = [[next(remaining) for _ in recording.windows] for recording in raw.recordings]
        rows = zip(raw.recordings, heard, payloads, strict=True)
        return [self._prediction(recording, transcripts) for recording, transcripts, _ in rows]

    def _prediction(self, recording: Recording, transcripts: Sequence[Transcript]) -> Prediction:
        numbers = [
            (t.mean_logprob, t.no_speech, *t.token_confidences, *(word.score for word in t.words)) for t in transcripts
        ]
        if not all(math.isfinite(number) for row in numbers for number in row):
            raise ItemError("model_failed", f"'{self._card.name}' gave numbers that are not finite for this recording")
        spoken, wordless_s = list[tuple[list[SpokenWord], Transcript]](), 0.0
        for window, transcript in zip(recording.windows, transcripts, strict=True):
            if self._is_emitted(transcript):
                of_window = segments(window, transcript.words, duration_s=recording.duration_s)
                spoken += [(words, transcript) for words in of_window]
            else:
                wordless_s += window.speech_s * (1.0 - transcript.no_speech)
        return Prediction(
            annotations=tuple(self._annotations(spoken)),
            signals=signals.speech(
                np.array([word.score for words, _ in spoken for word in words]),
                mean_logprob=_mean([t.mean_logprob for t in transcripts], otherwise=0.0),
                no_speech=_mean([t.no_speech for t in transcripts], otherwise=1.0),
                compression_ratio=max((t.compression_ratio for t in transcripts), default=0.0),
                temperature=0.0,  # the batched path never samples
                duration_s=recording.duration_s,
                speech_s=min(recording.speech_s, recording.duration_s),
                wordless_s=wordless_s,
                token_confidences=np.array([one for t in transcripts for one in t.token_confidences]),
                expected_errors=_expected_errors(transcripts),
            ),
            embedding=self._embedded(recording, transcripts),
        )

    def _is_emitted(self, transcript: Transcript) -> bool:
        """Whether a window's words become annotations: there are some, they score enough, and they are not silence.

        Silence by Whisper's own rule: no speech is likely, and the words are not (Radford et al. 2022, §4.5).
        """
        is_quiet = transcript.no_speech > self._options.no_speech_threshold
        is_silent = is_quiet and transcript.mean_logprob <= self._options.log_prob_threshold
        return bool(transcript.words) and not is_silent and _score(transcript) >= self._card.min_score

    def _annotations(self, spoken: Sequence[tuple[Sequence[SpokenWord], Transcript]]) -> Iterator[Annotation]:
        speech, word_label = self._card.label_for("speech"), self._card.label_for("word")
        for index, (words, transcript) in enumerate(spoken):
            if speech:
                yield Annotation(
                    id=str(index),
                    label=speech,
                    geometry=TimeSpan(start_s=words[0].start_s, end_s=words[-1].end_s),
                    score=_score(transcript),
                    text="".join(word.text for word in words).strip(),
                    attributes={"language": transcript.language},
                )
            for position, word in enumerate(words if word_label else ()):
                yield Annotation(
                    id=f"{index}.{position}",
                    label=word_label or "",
                    geometry=TimeSpan(start_s=word.start_s, end_s=word.end_s),
                    score=word.score,
                    text=word.text.strip(),
                    parent_id=str(index) if speech else None,
                )


def _score(transcript: Transcript) -> float:
    return min(math.exp(transcript.mean_logprob), 1.0)


def _encoded_frames(window: Window) -> int:
    """How many frames the encoder makes of a window's own; its second convolution takes every other one."""
    return min(-(-window.features.shape[-1] // 2), FRAMES_PER_S * WINDOW_S // 2)


def _array(encoded: StorageView) -> np.ndarray:
    """An encoder's answer in main memory: (n, frames, d) float32."""
    from ctranslate2 import DataType, Device

    return np.asarray(encoded.to_device(Device.cpu).to(DataType.float32))


def _check_search(card: ModelCard, options: Options) -> None:
    """CTranslate2 returns no more hypotheses than its beam holds, and a beam's distributions not at all."""
    if options.num_hypotheses > options.beam_size:
        got = f"num_hypotheses {options.num_hypotheses} with beam_size {options.beam_size}"
        raise ModelError("bad_card", f"'{card.name}' asks for {got}; it may not be larger than the beam")
    if options.token_distributions and options.beam_size > 1:
        problem = f"token_distributions with beam_size {options.beam_size}"
        raise ModelError("bad_card", f"'{card.name}' asks for {problem}; distributions need beam_size 1")


def _readings(result: Any, tokenizer: Tokenizer) -> Iterator[tuple[str, float]]:
    """Each hypothesis with its log-probability; an empty text has none in CTranslate2, which divides by the length."""
    for tokens, score in zip(result.sequences_ids, result.scores, strict=True):
        if math.isfinite(score):
            yield tokenizer.decode([token for token in tokens if token < tokenizer.eot]), score * len(tokens)


def _confidences(result: Any) -> Iterator[float]:
    """Tsallis confidence at each token of the only hypothesis; the step behind the last one, which ends it, is none."""
    from ctranslate2 import DataType, Device

    for logits in result.logits[0][: len(result.sequences_ids[0])]:
        numbers = np.asarray(logits.to_device(Device.cpu).to(DataType.float32)).ravel()
        weights = np.exp(numbers - numbers.max())
        yield float(signals.tsallis_confidence(weights / weights.sum()))


def _expected_errors(transcripts: Sequence[Transcript]) -> float | None:
    """Expected word error rate of a recording: its windows', weighted by their words; None where none was asked for.

    A window without words counts as one of a word.
    """
    heard = [t for t in transcripts if t.readings]
    if not heard:
        return None
    rates = [
        signals.expected_wer([text for text, _ in t.readings], np.array([score for _, score in t.readings]))
        for t in heard
    ]
    return float(np.average(rates, weights=[max(len(t.readings[0][0].split()), 1) for t in heard]))


def _rows_of(encoded: StorageView, rows: Sequence[int]) -> StorageView:
    """Some windows of an encoder's answer, by way of main memory: CTranslate2 has no other way, and it is 4 MB each."""
    from ctranslate2 import StorageView

    array = _array(encoded)
    return StorageView.from_array(np.ascontiguousarray(array[list(rows)])).to(encoded.dtype)


def _mean(values: Sequence[float], *, otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _transcript(
    result: Any, text: str, aligned: list[dict[str, Any]], language: str, encoded_sum: np.ndarray | None
) -> Transcript:
    from faster_whisper.transcribe import get_compression_ratio, merge_punctuations

    merge_punctuations(aligned, _PREPENDED, _APPENDED)
    count = len(result.sequences_ids[0])
    words = [
        SpokenWord(
            text=word["word"],
            start_s=float(word["start"]),
            end_s=float(word["end"]),
            score=min(max(float(word["probability"]), 0.0), 1.0),
        )
        for word in aligned
        if word["word"].strip()
    ]
    return Transcript(
        text=text,
        words=tuple(words),
        language=language,
        # The end of the text is a token, too. CTranslate2 divides by the length, so an empty text has no number.
        mean_logprob=result.scores[0] * count / (count + 1) if count else 0.0,
        no_speech=float(result.no_speech_prob),
        compression_ratio=get_compression_ratio(text),
        encoded_sum=encoded_sum,
    )


def load(card: ModelCard, folder: Path) -> Whisper:
    """Reads a Whisper that CTranslate2 has converted: model.bin, config.json, vocabulary.json, tokenizer.json.

    Options: ``vad`` (true) leaves out what silero's voice detection takes for silence; without it a recording is cut
    every 30 s. ``language`` (none: the language of each item's first window). ``beam_size`` (5). ``num_hypotheses`` (1,
    at most the beam) above 1 gives the signal expected_wer. ``token_distributions`` (false, needs ``beam_size`` 1)
    gives tsallis_min and tsallis_mean; it copies the whole vocabulary's logits at every token, 200 kB with Whisper's
    51,865. Without it only the probabilities of the chosen tokens are known. ``max_new_tokens`` for each window.
    ``no_speech_threshold`` (0.6) and ``log_prob_threshold`` (-1.0): a window beyond both is silent.
    ``shortest_window_s`` (30): the encoder sees a recording's windows filled up to a multiple of 5 s, and at least to
    this; its work grows with that. Published Whispers were trained on 30 s and hear worse in less: measure before you
    lower it for one. A network that was trained on shorter windows needs no more than those.

    Labels: "speech" for what is said between two pauses of a second or more, and "word". ``min_score`` applies to
    "speech"; words share its fate.

    Raises:
        ModelError: files are missing, or the features do not fit the network.
    """
    missing = [name for name in ("model.bin", "tokenizer.json") if not (folder / name).is_file()]
    if missing:
        advice = (
            "convert the model with ct2-transformers-converter --copy_files tokenizer.json preprocessor_config.json"
        )
        raise ModelError("missing_weights", f"'{card.name}' needs {missing} in {folder}; {advice}")
    return Whisper(card, _open(card, folder))


def _open(card: ModelCard, folder: Path) -> WhisperModel:
    device = _device(card)
    from faster_whisper import WhisperModel

    try:
        model = WhisperModel(
            str(folder),
            device=device,
            compute_type=_COMPUTE_TYPES[device][card.precision],
            cpu_threads=max(1, int(card.num_cpus)),
            local_files_only=True,
        )
    except (RuntimeError, ValueError) as err:
        raise ModelError("missing_weights", f"'{card.name}' cannot be read from {folder}: {err}") from err
    mels = len(model.feature_extractor.mel_filters)
    if mels != model.model.n_mels:
        wanted = f"the network takes {model.model.n_mels} mel bands, preprocessor_config.json makes {mels}"
        raise ModelError("missing_weights", f"'{card.name}' in {folder}: {wanted}; copy the file from the original")
    return model


def _device(card: ModelCard) -> Literal["cpu", "cuda"]:
    """Where CTranslate2 shall compute; it needs CUDA 12 even where torch finds what it needs.

    Raises:
        ModelError: the card asks for CUDA, and CTranslate2 finds no device or not its libraries.
    """
    if card.device == "cpu":
        return "cpu"
    missing = cuda_libraries.open_for_ctranslate2()  # before CTranslate2 looks for them
    from ctranslate2 import get_cuda_device_count

    if get_cuda_device_count() == 0:
        problem = "CTranslate2 finds no CUDA device"
    elif missing:
        problem = f"CTranslate2 cannot open {', '.join(missing)}: {cuda_libraries.ADVICE}"
        logger.warning("speech model '%s' stays on the CPU: %s", card.name, problem)
    else:
        return "cuda"
    if card.device == "cuda":
        raise ModelError("no_accelerator", f"model '{card.name}' asks for device cuda: {problem}")
    return "cpu"


def build_random(card: ModelCard) -> Whisper:
    """A Whisper of the size in ``architecture`` with random weights and an invented vocabulary.

    ``architecture`` holds any settings of transformers' WhisperConfig; what it leaves out is large-v3-turbo. The
    network is converted in a temporary folder, stored in int8 if that is the card's precision and in fp16 otherwise.
    """
    with TemporaryDirectory(prefix="prelabel-whisper-") as folder:
        try:
            write_random_network(Path(folder), card.architecture, is_int8=card.precision == "int8")
        except ValueError as err:
            raise ModelError("bad_card", f"the architecture of model '{card.name}' is no Whisper's: {err}") from err
        return Whisper(card, _open(card, Path(folder)))
