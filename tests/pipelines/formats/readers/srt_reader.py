"""Reads subtitles as the library srt does."""

from pathlib import Path

import srt


def read(path):
    subtitles = srt.parse(Path(path).read_bytes().decode())
    return [[one.index, one.start.total_seconds(), one.end.total_seconds(), one.content] for one in subtitles]
