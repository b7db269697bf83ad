"""Reads captions as webvtt-py does, and the texts in them as WebVTT has them."""

import html

import webvtt


def read(path):
    captions = webvtt.read(path, strict=True)
    notes = [*captions.header_comments, *(note for caption in captions for note in caption.comments)]
    notes += captions.footer_comments
    cues = [
        [caption.start, caption.end, html.unescape(caption.text), html.unescape(caption.voice or "")]
        for caption in captions
    ]
    return {"notes": notes, "cues": cues}
