"""Builds drops of images, texts and recordings in which one item of twenty is bad, each in a way of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, cycle, islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from models.demo import sentences
from models.types import Task
from pipelines.sources.suffixes import fits
from serving.demo import DROP
from tests.models.media.files import (
    HTML,
    SVG,
    a_flac_claiming,
    a_gif_of_specks,
    a_jpeg_without,
    a_picture,
    a_png,
    a_recording,
    a_silent_video,
    a_tiff,
    a_tone,
    a_wav_header,
    an_animation,
    an_image,
)

SECRET = "correct-horse-battery-staple"  # in what must not be opened, and in addresses; no answer may hold it
GOOD_FOR_ONE_BAD = 19
_MORE_THAN_A_FILE_MAY_HAVE = 64 * 2**20 + 1

Files = Iterator[tuple[str, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """A bad item: its id, the code it must fail with, and words that the message must hold."""

    id: str
    code: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """A drop as it lies on the disk: what is given to ``annotate``, and what must come of it.

    ``vanishing`` must go when it has been listed, and ``growing`` be written to all the time.
    """

    location: Path
    task: Task
    good: frozenset[str]
    bad: tuple[Bad, ...]
    vanishing: Path | None = None
    growing: Path | None = None


def images(folder: Path, *, is_whole: bool) -> Drop:
    """A folder for detection; ``is_whole`` leaves out what is bad."""
    bad, place = list[Bad](), folder / "images"
    place.mkdir()
    (folder / "outside").mkdir()
    (folder / "outside" / "private.png").write_bytes(an_image() + SECRET.encode())
    jpeg, png = (DROP / "detection" / "easy_00.jpg").read_bytes(), an_image(_a_drawing(1))
    checksum = png.index(b"IDAT") + 4 + int.from_bytes(png[png.index(b"IDAT") - 4 :][:4])
    for name, code, words, content in (
        ("empty.png", "empty", "got 0 bytes", b""),
        ("cut.jpg", "unreadable_image", "damaged: got JPEG", jpeg[: len(jpeg) // 2]),
        ("without_tables.jpg", "unreadable_image", "damaged: got JPEG", a_jpeg_without(0xDB)),
        ("cut.png", "unreadable_image", "damaged: got PNG", png[: len(png) // 2]),
        ("checksum.png", "unreadable_image", "damaged: got PNG", _changed(png, at=checksum)),
        ("no_width.png", "unreadable_image", "got PNG", a_png(0, 10)),
        ("cut.webp", "unreadable_image", "got WebP", an_image(_a_drawing(2), "WEBP")[:200]),
        ("text.jpg", "unreadable_image", "in an unknown format", b"It was Ada who took the pictures."),
        ("photo.heic.jpg", "unreadable_image", "got HEIC", b"\0\0\0\x18ftypheic" + bytes(64)),
        ("vector.png", "unreadable_image", "got SVG", SVG),
        ("login.png", "unreadable_image", "got HTML", HTML),
        ("document.tif", "unreadable_image", "got PDF", b"%PDF-1.7\n" + bytes(64)),
        ("sound.jpg", "wrong_media", "its bytes are WAV", a_recording()),
        ("bomb.png", "too_large", "pixels", a_png(60_000, 60_000, bits=1, colour=0, pixels=bytes(7_501 * 64))),
        ("frames.gif", "too_large", "more than 256 frames", a_gif_of_specks(10_000)),
        ("pages.tiff", "too_large", "more than 256 frames", a_tiff(300)),
        ("tile.tiff", "too_large", "tiles of", a_tiff(1, more_tags=((322, 65_535), (323, 65_535)))),
    ):
        (place / name).write_bytes(content)
        bad.append(Bad(id=name, code=code, words=words))
    (place / "zz_vanishing.png").write_bytes(png)  # the last one, which is read long after it was listed
    _sparse(place / "growing.bmp", size_bytes=_MORE_THAN_A_FILE_MAY_HAVE * 15 // 16)
    _sparse(place / "huge.bmp")
    (place / "way_out.png").symlink_to(folder / "outside" / "private.png")
    (place / "nowhere.png").symlink_to("gone.png")
    (place / "circle.png").symlink_to("circle.png")
    bad += [
        Bad(id="zz_vanishing.png", code="not_found", words="check its name"),
        Bad(id="growing.bmp", code="changed", words="changed while it was read"),
        Bad(id="huge.bmp", code="too_large", words="fetch.max_bytes"),
        Bad(id="way_out.png", code="blocked_url", words="leads out of the drop"),
        Bad(id="nowhere.png", code="not_found", words="leads nowhere"),
        Bad(id="circle.png", code="not_found", words="leads nowhere"),
    ]
    if os.geteuid():  # root may read everything
        (place / "locked.png").write_bytes(png)
        (place / "locked.png").chmod(0)
        bad.append(Bad(id="locked.png", code="fetch_failed", words="permissions"))
    if is_whole:
        for one in bad:
            (place / one.id).unlink()
    os.mkfifo(place / "pipe.png")  # no file, so no item; and nothing may wait for what comes through it
    good = _write(place, chain(_odd_images(), _sample("detection"), _drawings()), n=GOOD_FOR_ONE_BAD * len(bad))
    if is_whole:
        return Drop(location=place, task="detection", good=good, bad=())
    moving = {"vanishing": place / "zz_vanishing.png", "growing": place / "growing.bmp"}
    return Drop(location=place, task="detection", good=good, bad=tuple(bad), **moving)


def recordings(folder: Path, *, is_whole: bool) -> Drop:
    """A folder for speech; many of the good ones are equal, as transcribing them all would take minutes."""
    bad, place = list[Bad](), folder / "recordings"
    place.mkdir()
    (place / "neighbour.opus").write_bytes(a_recording(kind="OGG", subtype="OPUS"))
    tone = a_tone(3)
    sound = a_recording(tone)[44:]
    for name, code, words, content in (
        ("empty.wav", "empty", "got 0 bytes", b""),
        ("cut.wav", "unreadable_audio", "cut off", a_recording(tone)[:40_000]),
        ("cut.flac", "unreadable_audio", "damaged: got FLAC", a_recording(tone, kind="FLAC")[:20_000]),
        ("cut.mp3", "unreadable_audio", "cut off", a_recording(tone, kind="MP3")[:3_000]),
        ("lies.wav", "unreadable_audio", "header is wrong", a_wav_header(data_bytes=16) + sound),
        ("no_samples.wav", "unreadable_audio", "holds 0 samples", a_recording(tone[:0])),
        ("slow.wav", "unreadable_audio", "sample rate is 1 Hz", a_wav_header(rate=1, data_bytes=200) + sound[:200]),
        ("not_a_number.wav", "unreadable_audio", "NaN", a_recording(tone * np.float32(np.nan), subtype="FLOAT")),
        ("film.mp4", "unreadable_audio", "no audio track", a_silent_video()),
        ("playlist.wav", "unreadable_audio", "got playlist", b"ffconcat version 1.0\nfile neighbour.opus\n"),
        ("noise.wav", "unreadable_audio", "in an unknown format", np.random.default_rng(0).bytes(5_000)),
        ("noise.mp3", "unreadable_audio", "damaged: got MP3", b"ID3" + np.random.default_rng(0).bytes(5_000)),
        ("login.mp3", "unreadable_audio", "got HTML", HTML),
        ("picture.wav", "wrong_media", "its bytes are JPEG", an_image(kind="JPEG")),
        ("days.flac", "too_large", "lasts", a_flac_claiming(2**36 - 1)),
        ("crowd.wav", "too_large", "9 channels", a_wav_header(channels=9, data_bytes=1_800) + bytes(1_800)),
    ):
        if not is_whole:
            (place / name).write_bytes(content)
        bad.append(Bad(id=name, code=code, words=words))
    streamed = ("streamed.wav", a_wav_header(data_bytes=0xFFFFFFFF) + sound)  # as a recorder leaves it that cannot seek
    sample = list(_sample("speech"))
    again = ((f"again_{n:03}_{name}", content) for n, (name, content) in enumerate(cycle(sample)))
    good = _write(place, chain([streamed], sample, again), n=GOOD_FOR_ONE_BAD * len(bad) - 1) | {"neighbour.opus"}
    return Drop(location=place, task="speech", good=good, bad=() if is_whole else tuple(bad))


def texts(folder: Path, *, is_whole: bool) -> Drop:
    """A manifest for named entities, with texts in it and addresses of others."""
    place = folder / "texts"
    place.mkdir()
    (folder / "private.txt").write_text(f"Ada Varga keeps {SECRET} here.")
    for name, content in {
        "latin.txt": "Zoë".encode("latin-1"),
        "wide.txt": "Zoë".encode("utf-16"),
        "none.txt": b"",
    }.items():
        (place / name).write_bytes(content)
    (place / "way_out.txt").symlink_to(folder / "private.txt")
    (place / "folder.txt").mkdir()
    os.mkfifo(place / "pipe.txt")
    _sparse(place / "huge.txt")
    rows = list[str]()
    bad = list[Bad]()
    for name, code, words, row in (
        ("missing", "not_found", "check its name", {"uri": "no_such.txt"}),
        ("", "invalid_entry", "no 'uri' or 'text'", {"locale": "en"}),
        ("", "invalid_entry", "wanted exactly one", {"uri": "none.txt", "text": "Ada Varga"}),
        ("", "invalid_entry", "holds a int, wanted a string", {"text": 7}),
        ("", "invalid_entry", "NUL", {"uri": "none\0.txt"}),
        ("", "invalid_entry", "is no JSON", '{"id": "broken", "text": "Ada'),
        ("", "invalid_entry", "is no JSON", r'{"id": "half", "text": "\ud800"}'),
        ("", "invalid_entry", "holds a list, wanted an object", '["Ada Varga"]'),
        ("ftp", "blocked_url", "scheme 'ftp'", {"uri": f"ftp://example.com/{SECRET}"}),
        ("gopher", "blocked_url", "scheme 'gopher'", {"uri": "gopher://example.com/1"}),
        ("loopback", "blocked_url", "not opened", {"uri": f"http://127.0.0.1:1/?token={SECRET}"}),
        ("disguised", "blocked_url", "not opened", {"uri": "http://2130706433/a.txt"}),
        ("metadata", "blocked_url", "not opened", {"uri": "http://169.254.169.254/latest/meta-data/"}),
        ("password", "blocked_url", "user name or password", {"uri": f"http://ada:{SECRET}@example.com/a.txt"}),
        ("bucket", "blocked_url", "not opened", {"uri": "s3://somebody/a.txt"}),
        ("climbs", "blocked_url", "outside fetch.roots", {"uri": "../../etc/passwd"}),
        ("absolute", "blocked_url", "outside fetch.roots", {"uri": "file:///etc/passwd"}),
        ("way_out", "blocked_url", "outside fetch.roots", {"uri": "way_out.txt"}),
        ("latin", "invalid_text", "not UTF-8", {"uri": "latin.txt"}),
        ("wide", "invalid_text", "not UTF-8", {"uri": "wide.txt"}),
        ("none", "empty", "got 0 bytes", {"uri": "none.txt"}),
        ("long", "too_large", "characters", {"text": "Ada " * 250_001}),
        ("huge", "too_large", "fetch.max_bytes", {"uri": "huge.txt"}),
        ("folder", "fetch_failed", "is a folder or a device", {"uri": "folder.txt"}),
        ("pipe", "fetch_failed", "is a folder or a device", {"uri": "pipe.txt"}),
        ("damaged", "fetch_failed", "base64 is damaged", {"uri": "data:text/plain;base64,Q*"}),
        ("picture", "wrong_media", "says image", {"uri": "data:image/png;base64,iVBORw0KGgo="}),
    ):
        rows.append(row if isinstance(row, str) else json.dumps({**({"id": name} if name else {}), **row}))
        bad.append(Bad(id=name or f"line {len(rows)}", code=code, words=words))
    good = GOOD_FOR_ONE_BAD * (len(bad) + 1)  # with the row below, which comes last
    wanted = {f"odd_{n}": text for n, text in enumerate(_ODD_TEXTS)}
    written = sentences.held_out_texts("easy", n=good - len(wanted), seed=0)
    wanted |= {f"text_{n:03}": one.text for n, one in enumerate(written)}
    fine = [json.dumps({"id": name, "text": text}) for name, text in wanted.items()]
    again = json.dumps({"id": "odd_0", "text": "Somebody else."})
    entry = len(rows) + len(fine) + 1
    bad.append(Bad(id=f"odd_0 (again, as entry {entry})", code="repeated_id", words="more than once in this drop"))
    (place / "manifest.jsonl").write_text("\n".join(fine if is_whole else [*rows, *fine, again]))
    location = place / "manifest.jsonl"
    return Drop(location=location, task="ner", good=frozenset(wanted), bad=() if is_whole else tuple(bad))


_ODD_TEXTS = ("Ada\0Varga moved to Lisbon.", "", " \n\t", "\u202eAda\u202c", "😀 Ada Varga", "Ada Varga " * 2_000)


def _odd_images() -> Files:
    """Images that look bad and are not."""
    picture = a_picture(64, 48)
    yield "odd.PNG", an_image(picture)
    yield "odd_animation.gif", an_animation("GIF", 3)
    yield "odd_animation.png", an_animation("PNG", 3)
    yield "odd_pages.tiff", a_tiff(3)
    yield "odd_print.jpg", an_image(picture.convert("CMYK"), "JPEG")
    yield "odd_grey.png", an_image(Image.fromarray(np.arange(64 * 48, dtype=np.uint16).reshape(48, 64)))
    yield "odd_one_pixel.png", an_image(a_picture(1, 1))
    yield "odd_stripe.png", an_image(a_picture(4_000, 1))
    yield "odd_tail.jpg", an_image(picture, "JPEG") + b"PK\3\4" + HTML
    yield "odd_suffix.jpg", an_image(picture, "PNG")
    yield os.fsdecode(b"odd_caf\xe9.png"), an_image(picture)
    yield "odd_<img src=x onerror=alert(1)>\n\u202e.png", an_image(picture)


def _drawings() -> Files:
    n = 0
    while True:
        yield f"drawing_{n:03}.png", an_image(_a_drawing(n))
        n += 1


def _a_drawing(n: int) -> Image.Image:
    """A small picture that is like no other."""
    rng = np.random.default_rng(n)
    image = Image.new("RGB", (96, 72), tuple(rng.integers(160, 256, 3).tolist()))
    x, y = rng.integers(4, 40, 2).tolist()
    ImageDraw.Draw(image).ellipse((x, y, x + 28, y + 24), fill=tuple(rng.integers(0, 120, 3).tolist()))
    return image


def _sample(task: Task) -> Files:
    """What is good in the sample drop."""
    bad = {"bomb.png", "truncated.jpg", "not_a_number.wav", "playlist.wav"}
    for file in sorted((DROP / task).iterdir()):
        if file.name not in bad and fits(file.name, task):
            yield file.name, file.read_bytes()


def _write(place: Path, files: Files, *, n: int) -> frozenset[str]:
    """Write so many of the files, and tell the items' ids."""
    names = set[str]()
    for name, content in islice(files, n):
        (place / name).write_bytes(content)
        names.add(os.fsencode(name).decode(errors="replace"))  # tables hold UTF-8 alone
    return frozenset(names)


def _changed(data: bytes, *, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _sparse(file: Path, *, size_bytes: int = _MORE_THAN_A_FILE_MAY_HAVE) -> None:
    """A file of zeros, none of which is on the disk."""
    with file.open("wb") as opened:
        opened.truncate(size_bytes)
