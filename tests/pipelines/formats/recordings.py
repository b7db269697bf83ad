"""Builds labelled recordings to write out, ordinary ones and hostile ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import strategies as st

from models.types import Annotation, AttributeValue, Item, TimeSpan, WholeItem
from pipelines.formats.exported import Exported, Format, LeftOut
from tests.pipelines.formats.builders import a_failure, a_result


def a_label(
    id: str,
    text: str | None,
    start_s: float,
    end_s: float,
    *,
    label: str = "speech",
    score: float = 0.9,
    confidence: float | None = None,
    parent_id: str | None = None,
    **attributes: AttributeValue,
) -> Annotation:
    return Annotation(
        id=id,
        label=label,
        geometry=TimeSpan(start_s=start_s, end_s=end_s),
        score=score,
        confidence=confidence,
        text=text,
        attributes=attributes,
        parent_id=parent_id,
    )


def a_segment(
    text: str, start_s: float, end_s: float, *, id: str = "0", speaker: str | None = None, score: float = 0.9
) -> tuple[Annotation, ...]:
    """A segment and its words, which share its time evenly, as the adapter of speech models makes them."""
    attributes: dict[str, AttributeValue] = {"language": "en"}
    if speaker:
        attributes["speaker"] = speaker
    words = text.split()
    step_s = (end_s - start_s) / max(len(words), 1)
    starts_s = [start_s + step_s * number for number in range(len(words))]
    return (
        replace(a_label(id, text, start_s, end_s, score=score), attributes=attributes),
        *(
            a_label(f"{id}.{number}", word, start_s, start_s + step_s, label="word", parent_id=id, score=0.5)
            for number, (word, start_s) in enumerate(zip(words, starts_s, strict=True))
        ),
    )


def a_recording(
    id: str = "call.wav", *annotations: Annotation, uri: str | None = None, duration_s: float | None = 60.0
) -> Exported:
    result = replace(a_result(id, *annotations, task="speech"), duration_s=duration_s)
    return Exported(result=result, item=Item(id=id, media="audio", uri=uri or f"/data/{id}"))


def a_broken_recording(id: str = "broken.wav") -> Exported:
    return Exported(result=a_failure(id, task="speech"), item=Item(id=id, media="audio", uri=id))


def labels_of(*entries: Exported) -> list[str]:
    return sorted({annotation.label for entry in entries for annotation in entry.result.annotations})


def write(form: Format, *entries: Exported, out: Path) -> LeftOut:
    return form.write(iter(entries), labels=labels_of(*entries), out=out)


def written(form: Format, *entries: Exported) -> dict[str, str]:
    """The files that a format writes, by their paths."""
    with TemporaryDirectory() as folder:
        write(form, *entries, out=Path(folder))
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        return {path.relative_to(folder).as_posix(): path.read_bytes().decode() for path in files}


_TRAPS = [
    "-->", "&", "<i>", "</v>", "\"", "\r\n", "\n\n", "\t", ",", ";;", "%", "2\n00:00:01,000 --> 00:00:02,000\n",
    "NOTE", "&amp;", "{\\an8}", "intervals [1]:", "\x00", "\x0b", "\x85", "\u2028", "\ufeff", "\u202e", "e\u0301", "😀",
    "\ud800", "NA", "/", "..", "_", " ", "a", "hello", "world",
]  # fmt: skip

traps = st.lists(st.one_of(st.sampled_from(_TRAPS), st.text(st.characters(), max_size=3)), max_size=5).map("".join)
times_s = st.one_of(st.sampled_from([0.0, 0.0004, 0.9996, 3599.9996, 360_000.0]), st.floats(-1.0, 1e5))
spans = st.builds(
    lambda start_s, length_s: TimeSpan(start_s=start_s, end_s=start_s + length_s),
    times_s,
    st.sampled_from([0.0, 1e-4, 0.5, 40.0]),
)


@st.composite
def hostile_labels(draw: st.DrawFn, number: int) -> Annotation:
    return Annotation(
        id=str(number),
        label=draw(st.one_of(st.sampled_from(["speech", "word"]), traps)),
        geometry=draw(
            st.one_of(spans, spans, st.builds(TimeSpan, start_s=times_s, end_s=times_s), st.just(WholeItem()))
        ),
        score=draw(st.floats(0.0, 1.0)),
        confidence=draw(st.none() | st.floats(0.0, 1.0)),
        text=draw(st.one_of(st.sampled_from(["hello", "one two", None]), traps)),
        attributes=draw(st.dictionaries(st.sampled_from(["speaker", "language", "x"]), traps, max_size=2)),
        parent_id=draw(st.none() | st.integers(0, 5).map(str)),
    )


@st.composite
def hostile_recordings(draw: st.DrawFn) -> list[Exported]:
    """Up to three recordings, with ids and texts that files and formats may trip over."""
    ids = draw(st.lists(traps.filter(bool), min_size=1, max_size=3, unique=True))
    return [
        a_recording(
            item_id,
            *(draw(hostile_labels(number)) for number in range(draw(st.integers(0, 6)))),
            duration_s=draw(st.none() | st.floats(0.0, 1e5)),
        )
        for item_id in ids
    ]
