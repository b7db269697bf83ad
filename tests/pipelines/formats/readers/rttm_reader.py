"""Reads speaker turns as pyannote.database does."""

from pyannote.database.util import load_rttm


def read(path):
    return {
        recording: [[turn.start, turn.end, speaker] for turn, _, speaker in annotation.itertracks(yield_label=True)]
        for recording, annotation in load_rttm(path).items()
    }
