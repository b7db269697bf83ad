"""Tests what FiftyOne, with its database, has of images that the service has labelled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.pipelines.formats.readers import Reader, reader
from tests.serving.client.faulty import Faulty, Got, faulty_service, refused
from tests.serving.integrations.vision import seen

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def library() -> Iterator[Reader]:
    with reader("fiftyone", "fiftyone_model") as fiftyone:
        yield fiftyone


@pytest.fixture
def service() -> Iterator[Faulty]:
    with faulty_service(answers=seen) as faulty:
        yield faulty


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    """Nine images: the third is cut off, the fourth is gone, the fifth is black."""
    files = [tmp_path / f"{n}.png" for n in range(9)]
    for number, file in enumerate(files):
        Image.new("RGB", (64 + number, 48), "black" if number == 4 else "white").save(file)
    files[2].write_bytes(files[2].read_bytes()[:40])
    files[3].unlink()
    return [str(file) for file in files]


GOOD = [0, 1, 4, 5, 6, 7, 8]


def ask(library: Reader, service: Faulty, do: str, files: list[str], **options: Any) -> dict[str, Any]:
    return library.ask(do=do, address=service.address, files=files, **options)


def status_of(samples: list[dict[str, Any]]) -> list[tuple[str | None, str | None]]:
    return [(sample.get("prelabel_status"), sample.get("prelabel_error")) for sample in samples]


MARKED: list[tuple[str | None, str | None]] = [("labels", None)] * 9
MARKED[2], MARKED[3], MARKED[4] = ("failed", "unreadable_image"), ("failed", "not_found"), ("nothing_found", None)


def test_every_image_has_its_labels_or_says_what_is_wrong(library: Reader, service: Faulty, images: list[str]) -> None:
    found = ask(library, service, "call", images)

    assert found["answer"] == 9
    assert status_of(found["samples"]) == MARKED
    assert [number for number, sample in enumerate(found["samples"]) if sample.get("found") is not None] == GOOD
    dog, cat = found["samples"][0]["found"]
    assert (dog["label"], dog["confidence"], dog["score_kind"]) == ("dog", 0.625, "confidence")
    assert dog["bounding_box"] == [0.0, 0.0, 0.5, 1.0]
    assert (cat["label"], cat["confidence"], cat["score_kind"]) == ("cat", 0.125, "score")
    assert found["samples"][4]["found"] == []
    assert "cannot read" in found["samples"][3]["prelabel_error_message"]


def test_a_sample_can_be_sorted_by_how_unsure_the_model_is(library: Reader, service: Faulty, images: list[str]) -> None:
    (sample,) = ask(library, service, "call", images[:1])["samples"]

    assert (sample["prelabel_least_confidence"], sample["prelabel_margin"]) == (0.25, 0.5)
    assert (sample["prelabel_confidence"], sample["prelabel_route"]) == (0.75, "review")


@pytest.mark.parametrize("do", ["call", "apply"])
def test_of_what_a_person_is_to_label_from_nothing_a_sample_says_only_that(
    library: Reader, service: Faulty, images: list[str], do: str
) -> None:
    calls = list[str]()

    def then_hidden(got: Got) -> Any:
        calls.append(got.path)
        answer = seen(got)
        for result in answer["results"] if len(calls) > 1 else ():
            result["decision"] |= {"route": "audit", "is_blind": True}
        return answer

    service.answers = then_hidden

    (sample,) = ask(library, service, do, images[:1], task="segmentation", times=2)["samples"]

    assert len(calls) == 2
    assert (sample["prelabel_status"], sample["found"]) == ("hidden", [])
    told = {name for name, value in sample.items() if value is not None} - {"prelabel_status", "found"}
    assert told == set()


def test_the_files_own_bytes_are_sent(library: Reader, service: Faulty, images: list[str]) -> None:
    ask(library, service, "call", images[:1])

    assert list(service.got[0].parts.values()) == [Path(images[0]).read_bytes()]


def test_masks_lie_in_their_boxes_and_polygons_and_labels_of_the_image_have_fields(
    library: Reader, service: Faulty, images: list[str]
) -> None:
    (sample,) = ask(library, service, "call", images[:1], task="segmentation")["samples"]

    (mask,) = sample["found"]
    assert mask["bounding_box"] == [0.0, 0.0, 24 / 64, 0.5]  # the triangle's own box: 24 rows, and no wider
    assert mask["mask_hw"] == [24, 24]
    assert np.array_equal(np.unpackbits(np.array(mask["mask"], np.uint8))[: 24 * 24].reshape(24, 24), np.tri(24))
    (polygon,), (label,) = sample["prelabel_polygons"], sample["prelabel_labels"]
    assert (polygon["label"], polygon["points"]) == ("road", [[[0, 0], [1, 0], [0, 1]]])
    assert (label["label"], label["confidence"]) == ("indoor", 1.0)


@pytest.mark.parametrize("do", ["call", "apply"])
def test_labelled_again_a_sample_keeps_nothing_of_an_older_failure(
    library: Reader, service: Faulty, images: list[str], do: str
) -> None:
    calls = list[str]()

    def first_bad(got: Got) -> Any:
        answer = seen(got)
        if not calls:
            failed = {"status": "failed", "error": {"code": "timeout", "message": "late"}, "decision": None}
            answer["results"][0] |= failed | {"annotations": [], "uncertainty": {}, "confidence": None}
        calls.append(got.path)
        return answer

    service.answers = first_bad

    once, _ = ask(library, service, do, images[:2])["samples"]
    calls.clear()
    twice, _ = ask(library, service, do, images[:2], times=2)["samples"]

    assert (once["prelabel_status"], once["prelabel_error"], "prelabel_margin" in once) == ("failed", "timeout", True)
    assert len(calls) > 1
    assert (twice["prelabel_status"], twice["prelabel_error"]) == ("labels", None)
    assert twice["prelabel_error_message"] is None


@pytest.mark.parametrize("has_torch", [False, True], ids=["one by one", "data loader"])
def test_one_bad_image_costs_no_other_as_a_model(
    library: Reader, service: Faulty, images: list[str], has_torch: bool
) -> None:
    found = ask(library, service, "apply", images, has_torch=has_torch, batch_size=4)

    samples = found["samples"]
    assert [number for number, sample in enumerate(samples) if sample.get("found") is not None] == GOOD
    assert [len(samples[number]["found"]) for number in GOOD] == [2, 2, 0, 2, 2, 2, 2]
    if has_torch:
        assert [len(got.body["items"]) for got in service.got] == [3, 4, 1]
        assert status_of(samples) == MARKED
        assert not any("Error" in said for said in found["warned"])
    else:
        assert len(service.got) == 7  # FiftyOne passes over what it cannot decode itself
        assert [status_of(samples)[number][0] for number in (2, 3)] == [None, None]


def test_a_model_that_fiftyone_decodes_batches_for_loses_them(
    library: Reader, service: Faulty, images: list[str]
) -> None:
    samples = ask(library, service, "naive", images, batch_size=4)["samples"]

    assert [number for number, sample in enumerate(samples) if sample.get("found") is not None] == [4, 5, 6, 7, 8]


def test_fiftyones_own_threshold_and_classes_work_on_our_confidence(
    library: Reader, service: Faulty, images: list[str]
) -> None:
    sure = ask(library, service, "apply", images[:1], has_torch=False, confidence_thresh=0.5)["samples"]
    cats = ask(library, service, "apply", images[:1], has_torch=False, classes=["cat"])["samples"]

    assert [label["label"] for label in sure[0]["found"]] == ["dog"]
    assert [label["label"] for label in cats[0]["found"]] == ["cat"]


def test_an_image_without_a_sample_is_labelled_too(library: Reader, service: Faulty) -> None:
    found = ask(library, service, "predict", [], has_torch=False)

    assert found["answer"] == []  # it is black
    ((_, sent),) = service.got[0].parts.items()
    assert sent.startswith(b"\x89PNG")


@pytest.mark.parametrize("do", ["call", "apply"])
def test_a_service_that_refuses_is_not_taken_for_bad_images(library: Reader, images: list[str], do: str) -> None:
    fault, options = refused(401, code="unauthorized", message="send a key"), {"skip_failures": False}

    with faulty_service(*[fault] * 9) as faulty, pytest.raises(RuntimeError, match="send a key"):
        ask(library, faulty, do, images[:2], **(options if do == "apply" else {}))

    assert faulty.got


def test_a_task_without_labels_of_images_is_refused(library: Reader, service: Faulty, images: list[str]) -> None:
    with pytest.raises(RuntimeError, match="FiftyOne takes detection, segmentation"):
        ask(library, service, "call", images[:1], task="ner")
