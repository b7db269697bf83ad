"""Decodes a recording to mono samples at 16 kHz."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from itertools import chain

import av
import numpy as np
import soundfile
import soxr

from models.errors import ItemError
from models.media import length, signature
from models.media.limits import MediaLimits

SAMPLE_RATE_HZ = 16_000
_BLOCK_FRAMES = 65_536
# libsndfile is the smaller target for hostile bytes. It does not get MP3: it guesses the length of a file with a
# variable bit rate and no Xing header, and drops what lies beyond (15 of 20 s in a test, libsndfile 1.2.2).
_SOUNDFILE = frozenset({"WAV", "FLAC", "Ogg", "AIFF"})
# Naming the demuxer means that nothing is probed, so playlists, which open other files, are never parsed.
_DEMUXERS = {
    "WAV": "wav",
    "FLAC": "flac",
    "Ogg": "ogg",
    "AIFF": "aiff",
    "MP3": "mp3",
    "AAC": "aac",
    "MP4": "mov",
    "Matroska": "matroska",
}
_CODECS = (
    "aac,alac,ac3,eac3,flac,mp3,mp3float,opus,libopus,vorbis,libvorbis,speex,libspeex,amrnb,amrwb,libopencore_amrnb,"
    "libopencore_amrwb,pcm_u8,pcm_s8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f32be,"
    "pcm_f64le,pcm_f64be,pcm_alaw,pcm_mulaw,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt"
)
_WANTED = "wanted WAV, FLAC, Ogg, AIFF, MP3, AAC, M4A/MP4 or WebM/Matroska with speech in it"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recording:
    """An opened recording: what its header says, and its blocks of (n, channels) float32 samples, not yet decoded.

    ``duration_s`` may be guessed; ``is_stated`` says whether it stands in the header.
    """

    sample_rate_hz: int
    channels: int
    duration_s: float
    is_stated: bool
    blocks: Iterator[np.ndarray]


def decode(data: bytes, limits: MediaLimits) -> np.ndarray:
    """Decode block by block, mix the channels to one, resample, and clip to [-1, 1].

    A recording that ends before its header says was cut off, and is refused: its labels would hold for a part of it
    alone. Recorders that stream do not know the length and state gigabytes, or nothing: theirs are read to the end.

    Returns:
        (n,) float32 in [-1, 1] at 16 kHz, n ≥ 1, writable.

    Raises:
        ItemError: unreadable_audio, wrong_media, or too_large (from the header where it says so, else while decoding).
    """
    name, media = signature.identify(data)
    if name not in _DEMUXERS:
        raise _unknown(name, is_other_media=media is not None)
    if (fault := length.fault(data, name)) is not None:
        raise _unreadable(fault)
    try:
        with _open(data, name) as recording:
            _refuse_bombs(recording, limits)
            return _mono_16_khz(recording, limits)
    except ItemError:
        raise
    except Exception as err:  # hostile bytes bring out any exception in the libraries' bindings; the item fails alone
        raise _unreadable(f"the recording is damaged: got {name} ({_one_line(err)})") from err


class _SeekableBytes(BytesIO):
    """Bytes that a damaged file may seek in: libsndfile calls from C, where an exception ends up on stderr."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()


@contextmanager
def _open(data: bytes, name: str) -> Iterator[_Recording]:
    opened = _open_soundfile(data) if name in _SOUNDFILE else None
    if opened is None:
        with _open_ffmpeg(data, name) as recording:
            yield recording
        return
    with opened as file:
        yield _Recording(
            sample_rate_hz=file.samplerate,
            channels=file.channels,
            duration_s=file.frames / max(file.samplerate, 1),
            is_stated=True,
            blocks=_soundfile_blocks(file),
        )


def _open_soundfile(data: bytes) -> soundfile.SoundFile | None:
    """None where FFmpeg must take over: a codec that libsndfile lacks, or a FLAC stream that states no length."""
    try:
        file = soundfile.SoundFile(_SeekableBytes(data))
    except soundfile.LibsndfileError:
        return None
    if file.frames < np.iinfo(np.int64).max:
        return file
    file.close()
    return None


def _soundfile_blocks(file: soundfile.SoundFile) -> Iterator[np.ndarray]:
    while len(block := file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
        yield block


@contextmanager
def _open_ffmpeg(data: bytes, name: str) -> Iterator[_Recording]:
    demuxer = _DEMUXERS[name]
    # The bytes are all there is: no protocol may open anything else, and video codecs are never started.
    options = {"protocol_whitelist": "", "format_whitelist": demuxer, "codec_whitelist": _CODECS}
    with av.open(BytesIO(data), "r", format=demuxer, options=options, metadata_errors="replace") as container:
        if not container.streams.audio:
            raise _unreadable(f"the file has no audio track: got {len(container.streams)} other tracks")
        stream = container.streams.audio[0]
        if stream.codec_context.name not in _CODECS.split(","):
            raise _unreadable(f"the codec '{stream.codec_context.name}' is not taken")
        frames = container.decode(stream)
        first = next(frames, None)  # the header may state half the rate of an HE-AAC track
        if first is None:
            raise _unreadable("the recording holds no samples")
        yield _Recording(
            sample_rate_hz=first.sample_rate,
            channels=first.layout.nb_channels,
            duration_s=(container.duration or 0) / av.time_base,
            is_stated=length.is_stated(data, name),
            blocks=_float_blocks(chain([first], frames)),
        )


def _float_blocks(frames: Iterator[av.AudioFrame]) -> Iterator[np.ndarray]:
    to_float = av.AudioResampler(format="fltp")
    for frame in frames:
        for converted in to_float.resample(frame):
            yield converted.to_ndarray().T  # (channels, n) → (n, channels)


def _refuse_bombs(recording: _Recording, limits: MediaLimits) -> None:
    if not limits.min_sample_rate_hz <= recording.sample_rate_hz <= limits.max_sample_rate_hz:
        raise _unreadable(
            f"the sample rate is {recording.sample_rate_hz} Hz; "
            f"{limits.min_sample_rate_hz} to {limits.max_sample_rate_hz} Hz are taken"
        )
    if not 1 <= recording.channels <= limits.max_channels:
        raise ItemError(
            "too_large",
            f"the recording has {recording.channels} channels; 1 to {limits.max_channels} are taken; mix it down",
        )
    if recording.duration_s > limits.max_audio_s:
        raise _too_long(recording.duration_s, limits)


def _mono_16_khz(recording: _Recording, limits: MediaLimits) -> np.ndarray:
    """(n,) float32. Memory grows with what was really decoded, never with what a header claims."""
    rate = recording.sample_rate_hz
    resampler = soxr.ResampleStream(rate, SAMPLE_RATE_HZ, 1, dtype="float32")
    max_frames = math.floor(limits.max_audio_s * rate)
    pcm, frames = bytearray(), 0
    for block in recording.blocks:
        frames += len(block)
        if frames > max_frames:
            raise _too_long(frames / rate, limits)
        pcm += resampler.resample_chunk(_mono(block)).tobytes()
    if frames and recording.is_stated and length.is_short(frames / rate, of_s=recording.duration_s):
        raise _unreadable(
            f"the recording is cut off: it ends after {frames / rate:.1f} of the {recording.duration_s:.1f} s "
            "that its header states"
        )
    pcm += resampler.resample_chunk(np.zeros(0, np.float32), last=True).tobytes()
    if not pcm:
        raise _unreadable(f"the recording holds {frames} samples, too few to hear")
    samples = np.frombuffer(pcm, np.float32)
    return np.clip(samples, -1.0, 1.0, out=samples)  # resampling overshoots at steps


def _mono(block: np.ndarray) -> np.ndarray:
    """(n, channels) float32 → (n,) float32 in [-1, 1], the channels' mean."""
    if not np.isfinite(block).all():
        raise _unreadable("the recording holds samples that are NaN or infinite")
    return np.clip(block, -1.0, 1.0).mean(axis=1, dtype=np.float32)


def _unknown(name: str, *, is_other_media: bool) -> ItemError:
    if is_other_media:
        return ItemError("wrong_media", f"the item says audio and its bytes are {name}; {_WANTED}; correct its media")
    return _unreadable(f"the recording cannot be read: got {name}")


def _unreadable(got: str) -> ItemError:
    return ItemError("unreadable_audio", f"{got}; {_WANTED}; convert or record it again")


def _too_long(duration_s: float, limits: MediaLimits) -> ItemError:
    return ItemError(
        "too_large",
        f"the recording lasts {duration_s:.0f} s or more; at most {limits.max_audio_s:.0f} s are taken; split it",
    )


def _one_line(err: Exception) -> str:
    return (" ".join(str(err).split()) or type(err).__name__)[:160]
