"""Checks that recordings become segments and words with times of the recording, alone and in batches."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.adapters import faster_whisper
from models.adapters.faster_whisper import Whisper
from models.card import BatchLimits, ModelCard
from models.demo.evaluate_language import auroc, held_out_clips, normalised
from models.demo.train import WEIGHTS
from models.errors import ItemError, ModelError
from models.speech_windows import (
    SAMPLE_RATE_HZ,
    WINDOW_S,
    SpokenWord,
    Window,
    join_pieces,
    padded_s,
    segments,
    whole,
)
from models.types import Annotation, AudioPayload, Prediction, TextPayload, TimeSpan

DEMO = WEIGHTS / "speech"
OPTIONS: dict[str, Any] = {"vad": False, "language": "en", "beam_size": 1, "max_new_tokens": 48}
TINY: dict[str, Any] = {
    "num_mel_bins": 80,
    "d_model": 32,
    "encoder_layers": 1,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 32,
}


def a_card(**changes: Any) -> ModelCard:
    values: dict[str, Any] = {"name": "asr", "task": "speech", "adapter": "faster_whisper", "weights": str(DEMO)}
    return ModelCard(**values | {"min_score": 0.0, "device": "cpu", "options": OPTIONS} | changes)


@pytest.fixture(scope="module")
def demo() -> Whisper:
    return faster_whisper.load(a_card(), DEMO)


@pytest.fixture(scope="module")
def listening() -> Whisper:
    """With voice detection."""
    return faster_whisper.load(a_card(options=OPTIONS | {"vad": True}), DEMO)


@pytest.fixture(scope="module")
def brief() -> Whisper:
    """With windows of ten seconds, which the demo's network has seen in training."""
    return faster_whisper.load(a_card(options=OPTIONS | {"shortest_window_s": 10}), DEMO)


@pytest.fixture(scope="module")
def clips() -> list[tuple[AudioPayload, str]]:
    return held_out_clips("clean")[:6]


def predict(adapter: Whisper, *payloads: AudioPayload) -> list[Prediction]:
    return adapter.read(adapter.forward(adapter.prepare(payloads)), payloads)


def words(prediction: Prediction) -> list[Annotation]:
    return [found for found in prediction.annotations if found.label == "word"]


def times(annotations: list[Annotation]) -> list[tuple[float, float]]:
    spans = [found.geometry for found in annotations]
    return [(span.start_s, span.end_s) for span in spans if isinstance(span, TimeSpan)]


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * SAMPLE_RATE_HZ), dtype=np.float32)


def recording(*pieces: np.ndarray) -> AudioPayload:
    return AudioPayload(samples=np.concatenate(pieces))


def test_most_words_of_a_clean_recording_are_heard(demo: Whisper, clips: list[tuple[AudioPayload, str]]) -> None:
    predictions = predict(demo, *[payload for payload, _ in clips])

    heard = [found.text for prediction in predictions for found in words(prediction)]
    said = [word for _, text in clips for word in normalised(text).split()]
    assert len(set(heard) & set(said)) >= 0.7 * len(set(said))


def test_words_follow_each_other_within_their_segment(demo: Whisper, clips: list[tuple[AudioPayload, str]]) -> None:
    [prediction] = predict(demo, clips[0][0])

    [segment] = [found for found in prediction.annotations if found.label == "speech"]
    [(first, last)] = times([segment])
    bounds = times(words(prediction))
    assert segment.text == " ".join(word.text or "" for word in words(prediction))
    assert {word.parent_id for word in words(prediction)} == {segment.id}
    assert (first, last) == (bounds[0][0], bounds[-1][1])
    assert [time for span in bounds for time in span] == sorted(time for span in bounds for time in span)
    assert 0.0 <= first <= last <= len(clips[0][0].samples) / SAMPLE_RATE_HZ


def test_ids_are_unique_and_scores_are_probabilities(demo: Whisper, clips: list[tuple[AudioPayload, str]]) -> None:
    [prediction] = predict(demo, clips[1][0])

    assert len({found.id for found in prediction.annotations}) == len(prediction.annotations)
    assert all(0.0 <= found.score <= 1.0 for found in prediction.annotations)
    assert prediction.signals["temperature"] == 0.0


@pytest.mark.parametrize("seconds", [0.0, 1 / SAMPLE_RATE_HZ, 0.05, 2.0, 31.0])
def test_silence_holds_nothing(demo: Whisper, listening: Whisper, seconds: float) -> None:
    for adapter in (demo, listening):
        [prediction] = predict(adapter, AudioPayload(samples=silence(seconds)))

        assert prediction.status == "nothing_found"
        assert 0.0 <= prediction.signals["no_miss"] <= 1.0


def test_a_long_recording_is_cut_into_windows(demo: Whisper, clips: list[tuple[AudioPayload, str]]) -> None:
    # The second clip begins right behind the cut: the demo network loses words that come after seconds of silence.
    long = recording(clips[0][0].samples, silence(28.0), clips[1][0].samples)

    [prediction] = predict(demo, long)

    starts = [start for start, _ in times(words(prediction))]
    assert len(demo.prepare([long])[0].windows) == 2
    assert starts == sorted(starts)
    assert starts[-1] > 30.0


def test_speech_without_words_is_a_possible_miss_even_beside_words(clips: list[tuple[AudioPayload, str]]) -> None:
    """Beyond these thresholds every window counts as silent, so the second one is made to hear no words."""
    adapter = faster_whisper.load(a_card(options=OPTIONS | {"vad": False}), DEMO)
    long = recording(clips[0][0].samples, silence(30.0), clips[1][0].samples)
    [sample] = adapter.prepare([long])
    heard = adapter.forward([sample])
    first, second = heard.transcripts
    deaf = replace(second, words=(), text="", no_speech=0.1)

    [all_words], [some_words] = (
        adapter.read(raw, [long]) for raw in (heard, replace(heard, transcripts=(first, deaf)))
    )

    assert all_words.signals["no_miss"] == 1.0
    missed_s = 0.9 * sample.windows[1].speech_s
    assert some_words.signals["no_miss"] == pytest.approx(1.0 - missed_s / sample.duration_s)
    assert {found.label for found in some_words.annotations} == {"speech", "word"}


def test_a_segment_scores_as_its_tokens_and_the_end_did_on_average(demo: Whisper) -> None:
    """By the network's own probabilities, step by step, of the text that it chose for a noisy clip."""
    noisy = next(clip for clip, _ in held_out_clips("noisy") if words(predict(demo, clip)[0]))
    [sample] = demo.prepare([noisy])
    encoded = demo._encode(sample.windows)
    tokenizer = demo._tokenizer("en")
    prompt = demo._model.get_prompt(tokenizer, [], without_timestamps=True)
    [result] = demo._model.model.generate(
        encoded, [prompt], beam_size=1, return_scores=True, return_logits_vocab=True, sampling_temperature=0.0
    )
    logits = np.array([np.array(step) for step in result.logits[0]], dtype=np.float64)
    logprobs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    chosen = [*result.sequences_ids[0], tokenizer.eot]

    [prediction] = predict(demo, noisy)

    expected = np.mean([row[token] for row, token in zip(logprobs, chosen, strict=True)])
    assert expected < -0.05  # unsure enough to tell one way of averaging from another
    assert prediction.signals["mean_logprob"] == pytest.approx(float(expected), rel=0.02)


@pytest.fixture(scope="module")
def several() -> Whisper:
    """With five readings of each window."""
    return faster_whisper.load(a_card(options=OPTIONS | {"beam_size": 5, "num_hypotheses": 5}), DEMO)


@pytest.fixture(scope="module")
def telling() -> Whisper:
    """With the whole distribution of each token."""
    return faster_whisper.load(a_card(options=OPTIONS | {"token_distributions": True}), DEMO)


def of_part(adapter: Whisper, part: str, signal: str, *, count: int = 16) -> list[float]:
    """A signal of the clips that have it: where no token is heard, none has a distribution."""
    predictions = predict(adapter, *[clip for clip, _ in held_out_clips(part)[:count]])
    return [prediction.signals[signal] for prediction in predictions if signal in prediction.signals]


def test_readings_of_noisy_clips_differ_more_than_those_of_clean_ones(several: Whisper) -> None:
    clean, noisy = (of_part(several, part, "expected_wer") for part in ("clean", "noisy"))

    assert min(clean + noisy) >= 0.0
    assert np.mean(noisy) > np.mean(clean) + 0.1


def test_the_best_reading_is_the_one_that_is_published(several: Whisper, clips: list[tuple[AudioPayload, str]]) -> None:
    [transcript] = several.forward(several.prepare([clips[0][0]])).transcripts

    texts, logprobs = zip(*transcript.readings, strict=True)
    assert texts[0] == transcript.text
    assert len(set(texts)) > 1
    assert max(logprobs) <= 0.0


def test_distributions_over_tokens_are_flatter_in_noise_than_in_clean_speech(telling: Whisper) -> None:
    clean, noisy = (of_part(telling, part, "tsallis_mean") for part in ("clean", "noisy"))

    assert all(0.0 <= value <= 1.0 for value in clean + noisy)
    assert auroc(np.array(clean + noisy), np.array([True] * len(clean) + [False] * len(noisy))) >= 0.8


@pytest.mark.parametrize("kind", ["several", "telling"])
def test_what_is_told_beyond_the_text_changes_no_text_and_depends_on_no_neighbour(
    kind: str, request: pytest.FixtureRequest, clips: list[tuple[AudioPayload, str]]
) -> None:
    adapter: Whisper = request.getfixturevalue(kind)
    payloads = [payload for payload, _ in clips[:2]] + [payload for payload, _ in held_out_clips("noisy")[:2]]
    payloads += [AudioPayload(samples=silence(1.0)), recording(payloads[0].samples, silence(28.0), payloads[1].samples)]
    plain = faster_whisper.load(a_card(options=OPTIONS | {"beam_size": adapter._options.beam_size}), DEMO)

    together = predict(adapter, *payloads)

    for payload, prediction, without in zip(payloads, together, predict(plain, *payloads), strict=True):
        [alone] = predict(adapter, payload)
        assert_alike(prediction, alone)
        assert [found.text for found in prediction.annotations] == [found.text for found in without.annotations]


def test_only_asked_for_signals_are_told(demo: Whisper, clips: list[tuple[AudioPayload, str]]) -> None:
    [prediction] = predict(demo, clips[0][0])

    assert not {"expected_wer", "tsallis_min", "tsallis_mean"} & prediction.signals.keys()
    assert 0.5 < prediction.signals["words_per_s"] < 5.0
    assert prediction.signals["wordless_share"] == 0.0


@pytest.mark.parametrize(
    ("options", "message"),
    [({"num_hypotheses": 2}, "larger than the beam"), ({"beam_size": 5, "token_distributions": True}, "beam_size 1")],
)
def test_a_search_that_cannot_tell_what_is_asked_for_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        faster_whisper.load(a_card(options=OPTIONS | options), DEMO)

    assert caught.value.code == "bad_card"


def test_only_segments_are_emitted_where_the_card_drops_words(clips: list[tuple[AudioPayload, str]]) -> None:
    adapter = faster_whisper.load(a_card(labels={"word": "", "speech": "utterance"}), DEMO)

    [prediction] = predict(adapter, clips[0][0])

    assert {found.label for found in prediction.annotations} == {"utterance"}


def test_times_are_those_of_the_recording_when_silence_is_left_out(
    listening: Whisper, clips: list[tuple[AudioPayload, str]]
) -> None:
    clip = clips[0][0]

    [plain, shifted] = predict(listening, clip, recording(silence(8.0), clip.samples, silence(4.0)))

    moved = [(start - 8.0, end - 8.0) for start, end in times(words(shifted))]
    assert [word.text for word in words(shifted)] == [word.text for word in words(plain)]
    assert np.abs(np.array(moved) - np.array(times(words(plain)))).max() < 0.25
    assert shifted.signals["speech_s"] < shifted.signals["duration_s"] - 8.0


def test_a_pause_ends_a_segment(listening: Whisper, clips: list[tuple[AudioPayload, str]]) -> None:
    one, other = clips[0][0].samples, clips[1][0].samples

    [prediction] = predict(listening, recording(one, silence(5.0), other))

    [(_, first_end), (second_start, _)] = times([a for a in prediction.annotations if a.label == "speech"])
    assert first_end <= len(one) / SAMPLE_RATE_HZ + 0.5
    assert second_start >= len(one) / SAMPLE_RATE_HZ + 4.0


def test_pieces_are_joined_up_to_thirty_seconds() -> None:
    second = SAMPLE_RATE_HZ
    pieces = [(0, 10 * second), (12 * second, 30 * second), (31 * second, 40 * second)]

    assert list(join_pieces(pieces)) == [tuple(pieces[:2]), (pieces[2],)]


def test_a_recording_without_voice_detection_is_covered_without_gaps() -> None:
    pieces = whole(70 * SAMPLE_RATE_HZ + 5)

    assert pieces[0][0] == 0
    assert pieces[-1][1] == 70 * SAMPLE_RATE_HZ + 5
    assert all(before == start for (_, before), (start, _) in pairwise(pieces))


def test_a_word_stays_in_the_piece_that_holds_its_middle() -> None:
    second = SAMPLE_RATE_HZ
    window = Window(features=np.zeros((1, 1)), pieces=((second, 2 * second), (10 * second, 12 * second)))
    spoken = [
        SpokenWord(text="a", start_s=0.2, end_s=1.3, score=1.0),
        SpokenWord(text="b", start_s=0.9, end_s=2.0, score=1.0),
    ]

    [[a], [b]] = segments(window, spoken, duration_s=12.0)

    assert (a.start_s, a.end_s) == (1.2, 2.0)
    assert (b.start_s, b.end_s) == (10.0, 11.0)


def assert_alike(one: Prediction, other: Prediction) -> None:
    assert [found.text for found in one.annotations] == [found.text for found in other.annotations]
    assert times(list(one.annotations)) == times(list(other.annotations))
    assert [a.score for a in one.annotations] == pytest.approx([b.score for b in other.annotations], abs=1e-3)
    assert one.signals == pytest.approx(other.signals, abs=1e-3)


def test_a_recording_is_heard_alike_alone_and_in_any_batch(
    demo: Whisper, clips: list[tuple[AudioPayload, str]]
) -> None:
    payloads = [payload for payload, _ in clips[:3]]
    payloads += [AudioPayload(samples=silence(1.0)), recording(payloads[0].samples, silence(28.0), payloads[1].samples)]

    together, reversed_order = predict(demo, *payloads), predict(demo, *payloads[::-1])[::-1]

    for payload, one, other in zip(payloads, together, reversed_order, strict=True):
        [alone] = predict(demo, payload)
        assert_alike(one, alone)
        assert_alike(other, alone)


def test_recordings_that_need_windows_of_several_lengths_are_heard_alike_alone_and_together(
    brief: Whisper, clips: list[tuple[AudioPayload, str]]
) -> None:
    one, other, third = (payload.samples for payload, _ in clips[:3])
    payloads = [recording(one, silence(28.0), other), clips[1][0], recording(one, silence(9.0), third), clips[2][0]]
    assert [sample.window_s for sample in brief.prepare(payloads)] == [30, 10, 20, 10]

    together = predict(brief, *payloads)

    for payload, prediction in zip(payloads, together, strict=True):
        [alone] = predict(brief, payload)
        assert_alike(prediction, alone)
    assert all(words(prediction) for prediction in together)


def test_a_shorter_window_holds_the_same_words_at_the_same_times(
    demo: Whisper, brief: Whisper, clips: list[tuple[AudioPayload, str]]
) -> None:
    payloads = [payload for payload, _ in clips]

    full, short = predict(demo, *payloads), predict(brief, *payloads)

    same = [
        np.abs(np.array(times(words(one))) - np.array(times(words(other)))).max()
        for one, other in zip(full, short, strict=True)
        if [word.text for word in words(one)] == [word.text for word in words(other)]
    ]
    assert len(same) >= len(payloads) - 1
    assert max(same) < 0.25
    assert sum(sample.cost for sample in brief.prepare(payloads)) == 10 * len(payloads)


@pytest.mark.parametrize(
    ("frames", "shortest_s", "seconds"),
    [((), 30, 30), ((), 10, 10), ((1000,), 10, 10), ((1001,), 10, 15), ((200, 2999), 5, 30), ((3050,), 10, 30)],
)
def test_a_recordings_windows_are_as_long_as_the_longest_needs(
    frames: tuple[int, ...], shortest_s: int, seconds: int
) -> None:
    windows = [Window(features=np.zeros((1, count)), pieces=()) for count in frames]

    assert padded_s(windows, shortest_s=shortest_s) == seconds


@pytest.mark.parametrize("seconds", [0, 31])
def test_a_window_that_no_whisper_has_is_refused(seconds: int) -> None:
    with pytest.raises(ModelError, match="shortest_window_s"):
        faster_whisper.load(a_card(options={"shortest_window_s": seconds}), DEMO)


def test_windows_beyond_the_batch_limit_run_in_turns(clips: list[tuple[AudioPayload, str]]) -> None:
    payloads = [payload for payload, _ in clips[:3]]
    in_turns = faster_whisper.load(a_card(limits=BatchLimits(max_items=1)), DEMO)
    at_once = faster_whisper.load(a_card(), DEMO)

    for one, other in zip(predict(in_turns, *payloads), predict(at_once, *payloads), strict=True):
        assert_alike(one, other)


def test_an_empty_batch_stays_empty(demo: Whisper) -> None:
    assert predict(demo) == []


def test_items_of_several_languages_share_a_batch(clips: list[tuple[AudioPayload, str]]) -> None:
    adapter = faster_whisper.build_random(a_card(architecture=TINY, options=OPTIONS | {"max_new_tokens": 3}))
    recordings = adapter.prepare([payload for payload, _ in clips[:3]])
    windows = [(item, recording.windows[0]) for item, recording in enumerate(recordings)]
    languages = {0: "fr", 1: "ja", 2: "fr"}

    together = adapter._hear(windows, WINDOW_S, dict(languages))  # an untrained network hears one language everywhere

    assert [transcript.language for transcript in together] == ["fr", "ja", "fr"]
    for window, transcript in zip(windows, together, strict=True):
        [alone] = adapter._hear([window], WINDOW_S, dict(languages))
        assert alone.text == transcript.text
        assert alone.mean_logprob == pytest.approx(transcript.mean_logprob, abs=1e-3)


def test_a_multilingual_network_detects_the_language(clips: list[tuple[AudioPayload, str]]) -> None:
    adapter = faster_whisper.build_random(a_card(architecture=TINY, options={"vad": False, "max_new_tokens": 3}))

    raw = adapter.forward(adapter.prepare([clips[0][0]]))

    assert [len(transcript.language) in (2, 3) for transcript in raw.transcripts] == [True]


def test_a_text_is_refused(demo: Whisper) -> None:
    with pytest.raises(ItemError, match="labels audio"):
        demo.prepare([TextPayload(text="hello")])


def test_samples_that_are_not_finite_are_refused(demo: Whisper) -> None:
    with pytest.raises(ItemError, match="not finite") as caught:
        demo.prepare([AudioPayload(samples=np.array([0.0, np.nan], dtype=np.float32))])

    assert caught.value.code == "unreadable_audio"


def test_another_sample_rate_is_refused(demo: Whisper) -> None:
    with pytest.raises(ItemError, match="8000 Hz"):
        demo.prepare([AudioPayload(samples=silence(1.0), sample_rate_hz=8_000)])


@pytest.mark.parametrize("name", ["model.bin", "tokenizer.json"])
def test_an_incomplete_folder_is_refused(tmp_path: Path, name: str) -> None:
    for path in DEMO.glob("*.*"):
        if path.is_file() and path.name != name:
            shutil.copy(path, tmp_path)

    with pytest.raises(ModelError, match=name) as caught:
        faster_whisper.load(a_card(), tmp_path)

    assert caught.value.code == "missing_weights"


def test_features_that_do_not_fit_the_network_are_refused(tmp_path: Path) -> None:
    for path in DEMO.glob("*.*"):
        if path.is_file():
            shutil.copy(path, tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"feature_size": 128}')

    with pytest.raises(ModelError, match="80 mel bands"):
        faster_whisper.load(a_card(), tmp_path)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(ModelError, match=r"'colour'.*beam_size"):
        faster_whisper.load(a_card(options={"colour": "red"}), DEMO)


def test_a_language_that_the_network_does_not_speak_is_refused() -> None:
    with pytest.raises(ModelError, match="does not speak 'xx'"):
        faster_whisper.load(a_card(options={"language": "xx"}), DEMO)


def test_a_vocabulary_too_small_for_whispers_own_tokens_is_refused() -> None:
    with pytest.raises(ModelError, match="vocab_size must be") as caught:
        faster_whisper.build_random(a_card(architecture=TINY | {"vocab_size": 300}))

    assert caught.value.code == "bad_card"
