"""Checks that every kind of recording becomes mono at 16 kHz and that hostile ones are refused in time."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from models.errors import ItemError
from models.media import MediaLimits, decode
from models.types import AudioPayload, Content
from tests.models.media.files import (
    HTML,
    a_flac_claiming,
    a_recording,
    a_silent_video,
    a_tone,
    a_wav_header,
    an_encoding,
    an_image,
)


def read(data: bytes, **limits: float) -> np.ndarray:
    payload = decode(Content(media="audio", data=data), MediaLimits(**limits))  # type: ignore[arg-type]
    assert isinstance(payload, AudioPayload)
    assert payload.sample_rate_hz == 16_000
    return payload.samples


def refusal(data: bytes, **limits: float) -> ItemError:
    with pytest.raises(ItemError) as caught:
        read(data, **limits)
    return caught.value


def loudest_hz(samples: np.ndarray) -> float:
    return float(np.abs(np.fft.rfft(samples)).argmax()) * 16_000 / len(samples)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "DOUBLE"])
def test_a_wav_at_16_khz_comes_out_sample_by_sample(subtype: str) -> None:
    samples = read(a_recording(subtype=subtype))

    np.testing.assert_allclose(samples, a_tone()[:, 0], atol=1e-4)
    assert samples.dtype == np.float32
    assert samples.flags.writeable


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        ("FLAC", None),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("AIFF", None),
        ("RF64", None),
        ("WAV", "ULAW"),
        ("MP3", None),
    ],
)
def test_every_kind_of_sound_file_is_heard(kind: str, subtype: str | None) -> None:
    samples = read(a_recording(kind=kind, subtype=subtype))

    assert len(samples) == pytest.approx(8_000, abs=1_200)
    assert loudest_hz(samples) == pytest.approx(440, abs=3)


@pytest.mark.parametrize(
    ("container", "codec", "options"),
    [
        ("ipod", "aac", {}),
        ("mp4", "aac", {"movflags": "frag_keyframe+empty_moov"}),
        ("adts", "aac", {}),
        ("webm", "libopus", {}),
        ("matroska", "flac", {}),
        ("wav", "pcm_s16le", {}),
        ("ogg", "libopus", {}),
    ],
)
def test_every_kind_of_container_is_heard(container: str, codec: str, options: dict[str, str]) -> None:
    samples = read(an_encoding(container, codec, muxer=options))

    assert len(samples) == pytest.approx(8_000, abs=1_200)
    assert loudest_hz(samples) == pytest.approx(440, abs=3)


@pytest.mark.parametrize("rate", [4_000, 8_000, 22_050, 44_100, 48_000, 192_000])
def test_every_sample_rate_becomes_16_khz(rate: int) -> None:
    samples = read(a_recording(rate=rate))

    assert len(samples) == pytest.approx(8_000, abs=2)
    assert loudest_hz(samples) == pytest.approx(440, abs=2)


def test_channels_are_averaged() -> None:
    left = a_tone()[:, 0]

    samples = read(a_recording(np.stack([left, -left / 3], axis=1), subtype="FLOAT"))

    np.testing.assert_allclose(samples, left / 3, atol=1e-6)


def test_long_recordings_are_put_together_without_a_seam() -> None:
    rng = np.random.default_rng(3)
    wave = rng.uniform(-0.5, 0.5, 200_000).astype(np.float32)

    samples = read(a_recording(wave, subtype="FLOAT"))

    np.testing.assert_array_equal(samples, wave)


def test_an_mp3_with_a_variable_rate_and_no_header_is_read_to_its_end() -> None:
    rng = np.random.default_rng(1)
    loud_then_silent = np.concatenate([rng.uniform(-0.5, 0.5, 96_000), np.zeros(96_000)]).astype(np.float32)
    data = an_encoding(
        "mp3",
        "libmp3lame",
        samples=loud_then_silent,
        muxer={"write_xing": "0"},
        encoder={"flags": "+qscale", "global_quality": "236"},
    )

    samples = read(data)

    assert len(samples) / 16_000 == pytest.approx(4.0, abs=0.1)


def test_an_mp3_behind_a_large_cover_picture_is_heard() -> None:
    size = 300_000
    tag = b"ID3\x03\0\0" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + bytes(size)

    assert len(read(tag + a_recording(kind="MP3"))) == pytest.approx(8_000, abs=1_200)


def test_values_beyond_full_scale_are_clipped() -> None:
    samples = read(a_recording(np.full(1_000, 1e38, np.float32), subtype="FLOAT"))

    assert samples.max() == 1.0


def test_a_flac_stream_of_unknown_length_is_read_to_its_end() -> None:
    assert len(read(a_flac_claiming(0))) == 8_000


@pytest.mark.parametrize("claimed_bytes", [0x7FFFFFFF, 0xFFFFFFFF])
def test_a_wav_whose_header_claims_gigabytes_is_read_as_far_as_it_goes(claimed_bytes: int) -> None:
    data = a_wav_header(data_bytes=claimed_bytes) + bytes(32_000)

    assert len(read(data)) == 16_000


def test_a_header_that_claims_too_much_is_refused_before_decoding() -> None:
    assert refusal(a_flac_claiming(2**36 - 1)).code == "too_large"


def test_an_hour_of_silence_in_a_small_file_is_refused_under_a_cap_of_a_minute() -> None:
    silence = a_recording(np.zeros(61 * 16_000, np.int16), kind="FLAC")

    assert len(silence) < 10_000
    assert refusal(silence, max_audio_s=60).code == "too_large"


def test_the_cap_on_duration_holds_while_decoding_where_the_header_says_nothing() -> None:
    error = refusal(a_flac_claiming(0), max_audio_s=0.2)

    assert error.code == "too_large"
    assert "lasts" in error.message


@pytest.mark.parametrize("rate", [1, 3_999, 192_001, 4_000_000_000])
def test_an_absurd_sample_rate_is_refused(rate: int) -> None:
    assert refusal(a_wav_header(rate=rate, data_bytes=200) + bytes(200)).code == "unreadable_audio"


@pytest.mark.parametrize(("channels", "code"), [(9, "too_large"), (255, "too_large")])
def test_too_many_channels_are_refused(channels: int, code: str) -> None:
    assert refusal(a_wav_header(channels=channels, data_bytes=5_100) + bytes(5_100)).code == code


@pytest.mark.parametrize("channels", [0, 1_025, 65_535])
def test_impossible_channel_counts_are_refused(channels: int) -> None:
    error = refusal(a_wav_header(channels=channels, data_bytes=5_100) + bytes(5_100))

    assert error.code in ("unreadable_audio", "too_large")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(value: float) -> None:
    wave = a_tone()[:, 0].copy()
    wave[4_000] = value

    error = refusal(a_recording(wave, subtype="FLOAT"))

    assert error.code == "unreadable_audio"
    assert "NaN or infinite" in error.message


@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_a_recording_without_samples_is_refused(kind: str) -> None:
    assert refusal(a_recording(np.zeros(0, np.float32), kind=kind)).code == "unreadable_audio"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RIFF",
        b"RIFF\0\0\0\0WAVE",
        HTML,
        b"%PDF-1.7",
        b"ID3" + bytes(40),
        b"OggS" + bytes(40),
        b"fLaC" + bytes(50),
    ],
)
def test_a_file_that_is_no_recording_is_refused(data: bytes) -> None:
    error = refusal(data)

    assert error.code == "unreadable_audio"
    assert "wanted WAV" in error.message


def test_an_image_sent_as_audio_is_wrong_media() -> None:
    error = refusal(an_image())

    assert error.code == "wrong_media"
    assert "PNG" in error.message


def test_a_video_without_sound_is_refused() -> None:
    error = refusal(a_silent_video())

    assert error.code == "unreadable_audio"
    assert "no audio track" in error.message


@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXTINF:1,\n{path}\n",
        "ffconcat version 1.0\nfile {path}\n",
        "<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'><BaseURL>{path}</BaseURL></MPD>",
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nm=audio 9 RTP/AVP 0\r\n",
        "subfile,,start,0,end,9,,:{path}",
    ],
)
def test_a_playlist_opens_nothing(playlist: str, tmp_path: Path) -> None:
    neighbour = tmp_path / "neighbour.wav"
    neighbour.write_bytes(a_recording())

    assert refusal(playlist.format(path=neighbour).encode()).code == "unreadable_audio"


def test_a_playlist_behind_the_signature_of_a_recording_opens_nothing(tmp_path: Path) -> None:
    neighbour = tmp_path / "neighbour.wav"
    neighbour.write_bytes(a_recording())

    assert refusal(b"ID3\nffconcat version 1.0\nfile " + bytes(neighbour)).code == "unreadable_audio"


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "FLAC", "MP3", "WebM", "M4A", "AAC"])
@pytest.mark.parametrize("percent", [20, 60, 80])
def test_a_recording_that_was_cut_off_is_refused(kind: str, percent: int) -> None:
    encoded = {"WebM": ("webm", "libopus"), "M4A": ("ipod", "aac"), "AAC": ("adts", "aac")}
    tone = a_tone(3, 48_000)
    data = an_encoding(*encoded[kind], samples=tone[:, 0]) if kind in encoded else a_recording(tone, 48_000, kind=kind)

    error = refusal(data[: len(data) * percent // 100])

    assert error.code == "unreadable_audio"
    assert "cut off" in error.message or "damaged" in error.message


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_stream_that_was_cut_off_is_read_to_the_cut_or_refused(subtype: str) -> None:
    """It states no length, and many that are whole have no last page either."""
    data = a_recording(a_tone(3), kind="OGG", subtype=subtype)

    try:
        samples = read(data[: len(data) * 6 // 10])
    except ItemError as err:
        assert err.code == "unreadable_audio"
    else:
        assert 8_000 < len(samples) < 40_000


@pytest.mark.parametrize("stated_bytes", [0, 10, 16_000])
def test_a_wav_with_far_more_in_it_than_its_header_states_is_refused(stated_bytes: int) -> None:
    noise = np.random.default_rng(0).bytes(32_000)

    error = refusal(a_wav_header(data_bytes=stated_bytes) + noise)

    assert error.code == "unreadable_audio"
    assert f"it states {stated_bytes} bytes of sound" in error.message


@pytest.mark.parametrize("data_bytes", [32_000 - 100, 32_000, 32_044, 32_500])
def test_a_wav_header_may_be_a_little_wrong(data_bytes: int) -> None:
    assert len(read(a_wav_header(data_bytes=data_bytes) + bytes(32_000))) == pytest.approx(16_000, abs=50)


def test_a_wav_may_go_on_behind_its_sound() -> None:
    notes = b"LIST" + struct.pack("<I", 20_000) + b"INFO" + bytes(19_996)

    assert len(read(a_recording() + notes)) == 8_000


def test_a_webm_that_states_no_length_is_read_to_its_end() -> None:
    """As browsers record it."""
    data = an_encoding("webm", "libopus", muxer={"live": "1"})

    assert b"\x44\x89" not in data
    assert len(read(data)) == pytest.approx(8_000, abs=1_200)


@pytest.mark.parametrize("order", ["<", ">"])
def test_countless_chunks_are_not_walked(order: str) -> None:
    head, name = (b"RIFF\0\0\0\0WAVE", b"data") if order == "<" else (b"FORM\0\0\0\0AIFF", b"SSND")

    error = refusal(head + (name + struct.pack(f"{order}I", 0)) * 2_000_000)  # each of which the others follow

    assert error.code == "unreadable_audio"


def test_an_mp4_whose_index_was_cut_off_is_refused() -> None:
    data = an_encoding("ipod", "aac")

    assert refusal(data[: len(data) // 2]).code == "unreadable_audio"


def test_a_wav_with_a_codec_that_nobody_knows_is_refused() -> None:
    data = bytearray(a_recording())
    data[20:22] = struct.pack("<H", 0x0F0F)

    assert refusal(bytes(data)).code == "unreadable_audio"
