"""Tells what a file is from its first bytes, whatever it is called."""

from __future__ import annotations

import re

from models.types import Media

_HEAD_BYTES = 1024
_SIGNATURES: tuple[tuple[str, Media | None, bytes], ...] = (
    ("JPEG", "image", rb"\xff\xd8\xff"),
    ("PNG", "image", rb"\x89PNG\r\n\x1a\n"),
    ("GIF", "image", rb"GIF8[79]a"),
    ("WebP", "image", rb"RIFF....WEBP"),
    ("TIFF", "image", rb"II[\x2a\x2b]\0|MM\0[\x2a\x2b]"),
    ("BMP", "image", rb"BM.{4}\0\0\0\0"),
    ("HEIC", "image", rb"....ftyp(hei|hev|mif1|msf1)"),
    ("AVIF", "image", rb"....ftypavi[fs]"),
    ("JPEG 2000", "image", rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
    ("FITS", "image", rb"SIMPLE  ="),
    ("Photoshop", "image", rb"8BPS"),
    ("ICNS", "image", rb"icns"),
    ("WAV", "audio", rb"(RIFF|RF64)....WAVE"),
    ("FLAC", "audio", rb"fLaC"),
    ("Ogg", "audio", rb"OggS"),
    ("AIFF", "audio", rb"FORM....AIF[FC]"),
    ("MP4", "audio", rb"....(ftyp|moov|mdat|wide|free|skip)"),
    ("Matroska", "audio", rb"\x1a\x45\xdf\xa3"),
    ("AAC", "audio", rb"\xff[\xf0\xf1\xf8\xf9]"),
    ("MP3", "audio", rb"ID3|\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff]"),
    ("playlist", None, rb"\s*(#EXTM3U|ffconcat|v=0\r?\n|(<\?xml[^>]*>\s*)?<MPD)"),
    ("PDF", None, rb"%PDF"),
    ("PostScript", None, rb"%!PS|\xc5\xd0\xd3\xc6"),
    ("SVG", None, rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!DOCTYPE svg[^>]*>\s*)?<svg"),
    ("HTML", None, rb"\s*(?i:<!doctype html|<html|<head|<body)"),
    ("ZIP", None, rb"PK\x03\x04"),
    ("gzip", None, rb"\x1f\x8b"),
)
_PATTERNS: tuple[tuple[str, Media | None, re.Pattern[bytes]], ...] = tuple(
    (name, media, re.compile(pattern, re.DOTALL)) for name, media, pattern in _SIGNATURES
)


def identify(data: bytes) -> tuple[str, Media | None]:
    """What the file is.

    Returns:
        The format's name, for a message or for choosing a decoder, and the medium that it carries: None for a format
        that carries none of ours. A file in no known format is named by its length.
    """
    head = data[:_HEAD_BYTES]
    for name, media, pattern in _PATTERNS:
        if pattern.match(head):
            return name, media
    return f"{len(data)} bytes in an unknown format" if data else "no bytes at all", None
