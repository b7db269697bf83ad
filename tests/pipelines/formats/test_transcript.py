"""Tests how the labels of a recording become utterances."""

from __future__ import annotations

from collections import Counter

from hypothesis import given

from models.types import Annotation, WholeItem
from pipelines.formats.exported import Exported
from pipelines.formats.transcript import Utterance, clock, milliseconds, one_line, spoken, utterances
from tests.pipelines.formats.recordings import a_label, a_recording, a_segment, hostile_recordings


def utterances_of(*annotations: Annotation) -> list[Utterance]:
    return utterances(a_recording("a.wav", *annotations).result, Counter())


def texts_of(*annotations: Annotation) -> list[str]:
    return [utterance.text for utterance in utterances_of(*annotations)]


def a_word(
    text: str, start_s: float, end_s: float, *, speaker: str = "", confidence: float | None = None
) -> Annotation:
    return a_label(f"{start_s}", text, start_s, end_s, confidence=confidence, speaker=speaker)


def test_a_segment_has_the_words_that_name_it_as_their_parent() -> None:
    first, second = utterances_of(*a_segment("good bye", 5.0, 6.0, id="1"), *a_segment("hello", 1.0, 2.0, id="0"))

    assert (first.text, [word.text for word in first.words]) == ("hello", ["hello"])
    assert (second.text, [word.text for word in second.words]) == ("good bye", ["good", "bye"])
    assert (second.start_ms, second.end_ms) == (5000, 6000)


def test_words_are_in_the_order_of_their_times() -> None:
    segment, *words = a_segment("a b c", 0.0, 3.0)

    (utterance,) = utterances_of(*reversed(words), segment)

    assert [word.text for word in utterance.words] == ["a", "b", "c"]


def test_a_segment_without_words_is_an_utterance() -> None:
    (utterance,) = utterances_of(a_segment("good bye", 5.0, 6.0)[0])

    assert (utterance.text, utterance.words) == ("good bye", ())


def test_a_segment_of_one_word_is_told_from_a_word_by_its_language() -> None:
    segments = [a_label(str(start_s), "你好吗", start_s, start_s + 0.1, language="zh") for start_s in (0.0, 0.2)]

    assert texts_of(*segments) == ["你好吗", "你好吗"]


def test_a_turn_without_text_is_a_segment() -> None:
    (utterance,) = utterances_of(a_label("0", None, 1.0, 2.0, speaker="ada"))

    assert utterance.segment is not None
    assert utterance.speaker == "ada"


def test_words_without_segments_are_put_together_up_to_a_pause() -> None:
    words = a_word("one", 0.0, 0.5), a_word("two", 0.6, 1.0), a_word("three", 2.0, 2.5), a_word("four", 3.4, 4.0)

    assert texts_of(*words) == ["one two", "three four"]


def test_words_whose_segment_is_gone_are_put_together() -> None:
    assert texts_of(*a_segment("hello there", 1.0, 2.0)[1:]) == ["hello there"]


def test_words_without_segments_are_parted_after_seven_seconds() -> None:
    words = [a_word(str(second), float(second), second + 0.9) for second in range(10)]

    assert texts_of(*words) == ["0 1 2 3 4 5 6", "7 8 9"]


def test_words_without_segments_are_parted_after_two_lines_of_text() -> None:
    words = [a_word("x" * 20, n / 10, n / 10 + 0.1) for n in range(5)]

    assert [len(text) for text in texts_of(*words)] == [83, 20]


def test_words_without_text_are_not_put_together_without_end() -> None:
    words = [a_label(str(n), "", 1.0, 1.0, parent_id="gone") for n in range(10_000)]

    assert max(len(found.words) for found in utterances_of(*words)) == 84


def test_words_without_segments_are_parted_by_speaker() -> None:
    words = a_word("yes", 0.0, 0.5, speaker="ada"), a_word("no", 0.5, 1.0, speaker="bob")

    assert [(found.text, found.speaker) for found in utterances_of(*words)] == [("yes", "ada"), ("no", "bob")]


def test_the_certainty_of_words_put_together_is_their_mean() -> None:
    (calibrated,) = utterances_of(a_word("a", 0.0, 0.1, confidence=0.2), a_word("b", 0.1, 0.2, confidence=0.4))
    (scored,) = utterances_of(a_word("a", 0.0, 0.1, confidence=0.2), a_word("b", 0.1, 0.2))

    assert (round(calibrated.certainty[0], 9), calibrated.certainty[1]) == (0.3, "confidence")
    assert scored.certainty == (0.9, "score")


def test_a_label_that_is_its_own_parent_is_a_word() -> None:
    assert texts_of(a_label("0", "so", 0.0, 1.0, parent_id="0")) == ["so"]


def test_labels_without_a_time_are_counted() -> None:
    left_out = Counter[str]()
    whole = Annotation(id="0", label="noisy", geometry=WholeItem(), score=0.5)

    assert utterances(a_recording("a.wav", whole).result, left_out) == []
    assert left_out == {"labels without a time": 1}


def test_an_empty_span_lasts_a_millisecond() -> None:
    labels = a_label("0", "a", -1.0, -0.5), a_label("1", "b", 1.0, 1.0), a_label("2", "c", 2.0, 1.0)

    found = spoken(a_recording("a.wav", *labels).result, Counter())

    assert [(one.start_ms, one.end_ms) for one in found] == [(0, 1), (1000, 1001), (2000, 2001)]


@given(hostile_recordings())
def test_every_label_with_a_time_is_in_one_utterance(entries: list[Exported]) -> None:
    for entry in entries:
        timed = [a.id for a in entry.result.annotations if a.geometry.kind == "time_span"]

        found = utterances(entry.result, Counter())

        heard = [one for utterance in found for one in (utterance.segment, *utterance.words) if one]
        assert sorted(one.annotation.id for one in heard) == sorted(timed)
        assert all(0 <= one.start_ms < one.end_ms for one in heard)
        assert [utterance.start_ms for utterance in found] == sorted(utterance.start_ms for utterance in found)


def test_a_clock_counts_hours_beyond_two_digits() -> None:
    assert clock(milliseconds(359_999.9996), ".") == "100:00:00.000"
    assert clock(3_723_004, ",") == "01:02:03,004"


def test_times_beyond_reason_are_cut() -> None:
    assert [milliseconds(time_s) for time_s in (float("nan"), -5.0, 1e308)] == [0, 0, 10**12]


def test_a_text_is_one_line() -> None:
    assert one_line(" a \r\n\n b\u2028c\x00\ud800 ") == "a b c\ufffd\ufffd"
