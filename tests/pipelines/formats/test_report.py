"""Tests that the report shows what happened, safely, on one page that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import re
import wave
from collections.abc import Iterable
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from models.demo.scenes import scene
from models.geometry import encode_mask
from models.types import Annotation, Box, TextSpan, TimeSpan
from pipelines.formats import report
from pipelines.formats.report.card import MAX_AUDIO_BYTES
from pipelines.formats.report.chips import Chip, place
from pipelines.formats.report.colours import colours, contrast
from pipelines.formats.report.histogram import Histogram, Scores
from pipelines.formats.report.tally import MAX_CARDS
from pipelines.formats.report.text import MAX_CHARS, pieces, words
from pipelines.formats.results import Result
from pipelines.formats.summary import summarise
from tests.pipelines.formats.builders import a_failure, a_result, an_annotation
from tests.pipelines.formats.report.pages import Page, an_entry, page

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


def an_image(tmp_path: Path, *, size: tuple[int, int] = (200, 100), orientation: int | None = None) -> Path:
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    Image.new("RGB", size, "white").save(tmp_path / "image.jpg", exif=exif)
    return tmp_path / "image.jpg"


def a_recording(tmp_path: Path, *, seconds: float = 0.1, name: str = "speech.wav") -> Path:
    with wave.open(str(tmp_path / name), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(b"\0\0" * round(seconds * 16_000))
    return tmp_path / name


def a_span(start: int, end: int, *, id: str = "0", label: str = "PERSON", score: float = 0.9) -> Annotation:
    return an_annotation(id, label=label, geometry=TextSpan(start=start, end=end), score=score)


def test_nothing_is_asked_of_the_network(tmp_path: Path) -> None:
    mask = an_annotation("m", geometry=encode_mask(np.ones((100, 200), dtype=bool)))
    found = page(
        tmp_path,
        an_entry(a_result("a.jpg", an_annotation(), mask), source=an_image(tmp_path)),
        an_entry(a_result("a.wav", task="speech"), source=a_recording(tmp_path)),
    )

    links = [value for _, attrs in found.elements for name, value in attrs.items() if name in ("src", "href", "srcset")]

    assert all((link or "").startswith(("data:", "#")) for link in links)
    assert "url(" not in found.html
    assert "http" not in found.html.replace("http-equiv", "")


def test_only_the_pages_own_script_may_run(tmp_path: Path) -> None:
    html = page(tmp_path, an_entry(a_result())).html

    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)

    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert (
        f"default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
        in html
    )


@pytest.mark.parametrize("task", ["detection", "ner", "speech"])
def test_markup_in_ids_labels_and_texts_stays_text(tmp_path: Path, task: str) -> None:
    geometry = {
        "detection": Box(xyxy=(1.0, 1.0, 9.0, 9.0)),
        "ner": TextSpan(start=0, end=30),
        "speech": TimeSpan(start_s=0.0, end_s=1.0),
    }[task]
    annotation = Annotation(
        id=HOSTILE, label=HOSTILE, geometry=geometry, score=0.5, text=HOSTILE, attributes={HOSTILE: HOSTILE}
    )
    result = a_result(HOSTILE, annotation, task=task, reason=HOSTILE, uncertainty={HOSTILE: 0.5})  # type: ignore[arg-type]
    failure = a_failure(HOSTILE, message=HOSTILE)

    found = page(
        tmp_path,
        an_entry(result, source=an_image(tmp_path), text=HOSTILE),
        an_entry(failure),
        title=HOSTILE,
        subtitle=HOSTILE,
    )

    assert len(found.all("script")) == 1
    assert not [attrs for _, attrs in found.elements if "onerror" in attrs]
    assert HOSTILE in found.text


def test_characters_that_html_cannot_hold_become_visible(tmp_path: Path) -> None:
    found = page(tmp_path, an_entry(a_result("a\0b\udc80c"), text=None))

    assert "a␀b\N{REPLACEMENT CHARACTER}c" in found.text
    assert "\0" not in found.html


def test_an_id_cannot_reorder_the_text_around_it(tmp_path: Path) -> None:
    found = page(tmp_path, an_entry(a_result("a\u202egpj.exe")))

    assert "\u202e" not in found.html
    assert "a‹U+202E›gpj.exe" in found.text


def test_a_text_from_right_to_left_is_set_in_its_own_direction(tmp_path: Path) -> None:
    found = page(tmp_path, an_entry(a_result("a", a_span(0, 4), task="ner"), text="שלום לך"))

    assert found.all("p", "passage")[0]["dir"] == "auto"


def test_a_run_of_nothing_is_a_page_too(tmp_path: Path) -> None:
    assert page(tmp_path).all("article") == []


def test_the_most_uncertain_item_comes_first_and_failures_last(tmp_path: Path) -> None:
    entries = [
        an_entry(a_failure("failed")),
        an_entry(a_result("sure", uncertainty={"a": 0.1})),
        an_entry(a_result("unsure", uncertainty={"a": 0.0, "b": 0.9})),
        an_entry(a_result("unknown", uncertainty={})),
    ]

    ids = [found["title"] for found in page(tmp_path, *entries).all("bdi") if "title" in found]

    assert ids == ["unknown", "unsure", "sure", "failed"]


def test_models_are_named_with_their_bytes(tmp_path: Path) -> None:
    found = page(tmp_path, an_entry(a_result()))

    assert "detector@2" in found.text
    assert "0123456789ab" in found.text


def test_an_item_without_calibration_says_so(tmp_path: Path) -> None:
    found = page(tmp_path, an_entry(a_result("a.png", an_annotation())))

    assert len(found.all("span", "uncalibrated")) == 1
    assert not re.search(r"conf(idence|\.) \d", found.text)


def test_a_calibrated_confidence_is_shown(tmp_path: Path) -> None:
    found = page(tmp_path, an_entry(a_result("a.png", an_annotation(confidence=0.77), confidence=0.66)))

    assert not found.all("span", "uncalibrated")
    assert "confidence 0.66" in found.text
    assert "conf. 0.77" in found.text


def test_a_failure_shows_its_code_and_message(tmp_path: Path) -> None:
    found = page(tmp_path, an_entry(a_failure(message="export it again")))

    assert "unreadable_image" in found.text
    assert "export it again" in found.text


def test_cards_carry_what_the_filters_ask_for(tmp_path: Path) -> None:
    entry = an_entry(a_result("a", an_annotation(label="b b"), an_annotation("1", label="a"), route="audit"))

    found = page(tmp_path, entry)

    (card,) = found.all("article")
    assert (card["data-task"], card["data-route"], card["data-labels"]) == ("detection", "audit", " 1 0 ")
    assert {"value": "1"} in found.all("option")


def test_of_very_many_items_the_page_says_how_many_it_leaves_out(tmp_path: Path) -> None:
    entries = [an_entry(a_result(str(number))) for number in range(MAX_CARDS + 7)]

    found = page(tmp_path, *entries)

    assert len(found.all("article")) == MAX_CARDS
    assert "7 more items" in found.text


def test_items_of_a_task_without_given_numbers_are_shown_too(tmp_path: Path) -> None:
    entries = [an_entry(a_result("a")), an_entry(a_result("b", task="ner"))]

    report.write(entries, tmp_path / "report.html", title="A run", summary=summarise([entries[0].result], {}))

    assert len(Page((tmp_path / "report.html").read_text(encoding="utf-8")).all("article")) == 2


def test_a_thumbnail_is_small_and_upright(tmp_path: Path) -> None:
    source = an_image(tmp_path, size=(1000, 500), orientation=6)

    found = page(tmp_path, an_entry(a_result("a.jpg"), source=source))

    (thumbnail,) = found.data("img", "src")
    assert Image.open(BytesIO(thumbnail)).size == (240, 480)
    assert found.all("svg", "overlay")[0]["viewbox"] == "0 0 500 1000"


def test_a_mask_is_laid_over_its_pixels(tmp_path: Path) -> None:
    bitmap = np.zeros((100, 200), dtype=bool)
    bitmap[20:60, 40:140] = True
    result = a_result("a.jpg", an_annotation(geometry=encode_mask(bitmap)), task="segmentation")

    found = page(tmp_path, an_entry(result, source=an_image(tmp_path)))

    (overlay,) = (np.asarray(Image.open(BytesIO(data)).convert("RGBA")) for data in found.data("image", "href"))
    (place_of,) = found.all("image")
    assert [round(float(place_of[side] or 0)) for side in ("x", "y", "width", "height")] == [39, 19, 102, 42]
    assert overlay[overlay.shape[0] // 2, overlay.shape[1] // 2, 3] > 0
    assert overlay[0, 0, 3] == 0


def test_a_box_and_its_mask_share_a_name_with_the_lower_score(tmp_path: Path) -> None:
    box = an_annotation("0", score=0.83)
    mask = an_annotation("m0", geometry=encode_mask(np.ones((100, 200), dtype=bool)), score=0.41, parent_id="0")

    found = page(tmp_path, an_entry(a_result("a.jpg", box, mask), source=an_image(tmp_path)))

    assert len(found.all("span", "chip")) == 1
    assert re.search(r'class="chip"[^>]*>circle <b>0\.41</b>', found.html)


def test_an_unreadable_image_costs_only_its_picture(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff and no more")

    found = page(tmp_path, an_entry(a_result("bad.jpg", an_annotation()), source=tmp_path / "bad.jpg"))

    assert not found.all("img")
    assert len(found.all("p", "note")) == 1


@pytest.mark.parametrize("name", ["missing.jpg", "x" * 5000, "nul\0.jpg"])
def test_a_file_that_cannot_be_opened_costs_only_its_picture(tmp_path: Path, name: str) -> None:
    found = page(tmp_path, an_entry(a_result("a.jpg", an_annotation()), source=tmp_path / name))

    assert len(found.all("article")) == 1
    assert "cannot be read" in found.text


def test_offsets_count_code_points(tmp_path: Path) -> None:
    found = page(tmp_path, an_entry(a_result("a", a_span(2, 7), task="ner"), text="😀 Alice & Bob"))

    assert re.search(r"<mark[^>]*>Alice<span", found.html)


SPANS = st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda pair: (min(pair), max(pair)))


@given(st.text(max_size=25), st.lists(SPANS, max_size=5))
def test_pieces_make_up_the_text(text: str, spans: list[tuple[int, int]]) -> None:
    annotations = [a_span(start, end, id=str(number)) for number, (start, end) in enumerate(spans)]

    found = pieces(text, annotations)

    assert "".join(piece.text for piece in found) == text
    for annotation, (start, end) in zip(annotations, spans, strict=True):
        assert "".join(piece.text for piece in found if annotation in piece.over) == text[start:end]


def test_a_long_text_is_cut_and_the_rest_counted(tmp_path: Path) -> None:
    found = page(tmp_path, an_entry(a_result("a", task="ner"), text="x" * (MAX_CHARS + 1234)))

    assert "1,234 more characters" in found.text


def test_a_recording_is_embedded_as_it_is(tmp_path: Path) -> None:
    source = a_recording(tmp_path)

    found = page(tmp_path, an_entry(a_result("a.wav", task="speech"), source=source))

    assert found.data("audio", "src") == [source.read_bytes()]
    assert (found.all("audio")[0]["src"] or "").startswith("data:audio/wav;")


def test_words_are_shown_once_in_the_order_of_speech() -> None:
    transcript = an_annotation("t", geometry=TimeSpan(start_s=0.0, end_s=2.0), text="hello world")
    late = an_annotation("w1", geometry=TimeSpan(start_s=1.0, end_s=2.0), text=" world", parent_id="t")
    early = an_annotation("w0", geometry=TimeSpan(start_s=0.0, end_s=1.0), text=" hello", parent_id="t")

    assert [word.text for word in words([transcript, late, early])] == ["hello", "world"]


def test_a_word_tells_its_score_and_time(tmp_path: Path) -> None:
    word = an_annotation(label="word", geometry=TimeSpan(start_s=0.5, end_s=0.75), score=0.25, text="stop")

    (found,) = page(tmp_path, an_entry(a_result("a.wav", word, task="speech"))).all("span", "word")

    assert found["title"] == "word, score 0.25, 0.50–0.75 s"
    assert found["style"] == "--doubt:0.750"


def test_a_run_of_the_sample_drops_size_stays_below_six_megabytes(tmp_path: Path) -> None:
    recordings = [a_recording(tmp_path, seconds=5.0, name=f"{number}.wav") for number in range(30)]
    entries = [an_entry(a_result(source.name, task="speech"), source=source) for source in recordings]
    for number in range(4):
        drawn, source = scene(2_000_000 + number, "hard"), tmp_path / f"{number}.png"
        Image.fromarray(drawn.image_rgb.repeat(2, axis=0).repeat(2, axis=1)).save(source)
        masks = [encode_mask(mask.repeat(2, axis=0).repeat(2, axis=1)) for mask in drawn.masks]
        labels = [an_annotation(str(place), geometry=mask) for place, mask in enumerate(masks)]
        images = [a_result(f"{number}-{copy}", *labels, task="segmentation") for copy in range(10)]
        entries += [an_entry(result, source=source) for result in images]

    found = page(tmp_path, *entries)

    assert len(found.html) < 6_000_000
    assert 0 < len(found.all("audio")) < 30
    assert sum(map(len, found.data("audio", "src"))) <= MAX_AUDIO_BYTES
    assert "left out to keep this page small" in found.text


def test_every_label_is_legible_on_its_own_colour() -> None:
    found = colours(f"label {number:02}" for number in range(60))

    assert len({colour.fill for colour in found.values()}) == 60
    assert min(contrast(colour.fill, colour.ink) for colour in found.values()) >= 4.5


def test_names_of_neighbours_do_not_cover_each_other() -> None:
    boxes = [(100.0, 100.0, 140.0, 140.0), (110.0, 102.0, 150.0, 142.0), (120.0, 104.0, 160.0, 144.0)]

    chips = place(boxes, ["circle 0.00"] * 3, size_hw=(270, 300))

    spots = sorted(_top_left(chip, width=85.0, height=17.0, frame_wh=(300.0, 270.0)) for chip in chips)
    assert all(abs(a[0] - b[0]) >= 85.0 or abs(a[1] - b[1]) >= 17.0 for a, b in pairwise(spots))


@given(st.tuples(*[st.floats(0.0, 1.0)] * 4), st.integers(1, 5000), st.integers(1, 5000))
def test_names_stay_pinned_inside_the_picture(shares: tuple[float, ...], height: int, width: int) -> None:
    (x1, x2), (y1, y2) = sorted(shares[:2]), sorted(shares[2:])

    (chip,) = place([(x1 * width, y1 * height, x2 * width, y2 * height)], ["a label 0.00"], size_hw=(height, width))

    assert -1e-6 <= chip.x <= 100.0 + 1e-6
    assert -1e-6 <= chip.y <= 100.0 + 1e-6


def test_the_histogram_counts_items_by_their_weakest_label() -> None:
    results = [
        a_result("a", an_annotation(score=0.97), an_annotation("1", score=0.42), route="review"),
        a_result("b", an_annotation(score=1.0), route="audit"),
        a_result("nothing found"),
        a_failure("c"),
    ]

    found = histogram(results)

    assert [(bar.low, bar.accepted, bar.review) for bar in found.bars if bar.accepted or bar.review] == [
        (0.4, 0, 1),
        (0.95, 1, 0),
    ]
    assert found.threshold == 0.6


def test_the_histogram_says_when_thresholds_differ() -> None:
    results = [a_result(str(number), an_annotation(), threshold=value) for number, value in enumerate([0.5, 0.7, 0.5])]

    found = histogram(results)

    assert (found.threshold, found.is_only_threshold) == (0.5, False)


def histogram(results: Iterable[Result]) -> Histogram:
    scores = Scores()
    for result in results:
        scores.add(result)
    return scores.histogram()


def _top_left(chip: Chip, *, width: float, height: float, frame_wh: tuple[float, float]) -> tuple[float, float]:
    x, y = chip.x / 100.0 * frame_wh[0], chip.y / 100.0 * frame_wh[1]
    return (
        x if chip.horizontal == "left" else frame_wh[0] - x - width,
        y if chip.vertical == "top" else frame_wh[1] - y - height,
    )
