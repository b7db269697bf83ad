"""Tests where the labels of a task go in a labelling interface, and what is said where they have no place."""

from __future__ import annotations

import pickle

import pytest

from models.types import Box, Geometry, Mask, Polygon, Task, TextSpan
from pipelines.formats.label_studio.binding import UnservableError, bind, choose_task
from pipelines.formats.label_studio.interface import read_interface
from tests.pipelines.formats.label_studio.builders import AUDIO, IMAGE, TEXT, a_binding, labels_tag, view

BOX = Box(xyxy=(0.0, 0.0, 1.0, 1.0))
MASK = Mask(size_hw=(1, 1), counts="01")
RING = Polygon(points_xy=((0.0, 0.0), (1.0, 0.0), (1.0, 1.0)))
RECTANGLES = labels_tag("RectangleLabels", "box", "cat", "dog")
POLYGONS = labels_tag("PolygonLabels", "ring", "cat")
BRUSHES = labels_tag("BrushLabels", "brush", "cat")
TASKS: tuple[Task, ...] = ("detection", "segmentation", "ner", "speech")


@pytest.mark.parametrize(
    ("geometry", "controls", "name"),
    [
        (MASK, (RECTANGLES, POLYGONS, BRUSHES), "brush"),
        (MASK, (RECTANGLES, POLYGONS), "ring"),
        (MASK, (RECTANGLES,), "box"),
        (RING, (RECTANGLES, POLYGONS, BRUSHES), "ring"),
        (RING, (RECTANGLES, BRUSHES), "brush"),
        (BOX, (BRUSHES, POLYGONS, RECTANGLES), "box"),
        (BOX, (BRUSHES, POLYGONS), "ring"),
        (BOX, (BRUSHES,), None),
    ],
)
def test_a_place_goes_where_it_is_drawn_most_truly(geometry: Geometry, controls: tuple[str], name: str | None) -> None:
    found = a_binding("segmentation", IMAGE, *controls).outlet(geometry, "cat")

    assert (found[0].control.name if found else None) == name


def test_a_mask_goes_to_a_control_that_offers_its_label() -> None:
    found = a_binding("segmentation", IMAGE, RECTANGLES, BRUSHES).outlet(MASK, "dog")

    assert found and found[0].control.name == "box"


@pytest.mark.parametrize(
    ("label", "written"),
    [("Cat", "Cat"), ("Hound", "D"), ("D", "D"), ("poodle", "D"), ("CAT", "Cat"), ("POODLE", "D"), ("cow", None)],
)
def test_a_label_is_found_by_value_alias_predicted_values_and_in_any_case(label: str, written: str | None) -> None:
    dog = '<Label value="Hound" alias="D" predicted_values="dog,poodle"/>'
    control = f'<RectangleLabels name="b" toName="img"><Label value="Cat"/>{dog}</RectangleLabels>'

    found = a_binding("detection", IMAGE, control).outlet(BOX, label)

    assert (found[1] if found else None) == written


def test_an_exact_name_wins_over_what_another_label_is_predicted_by() -> None:
    labels = '<Label value="vehicle" predicted_values="car"/><Label value="car"/>'
    control = f'<RectangleLabels name="b" toName="img">{labels}</RectangleLabels>'

    found = a_binding("detection", IMAGE, control).outlet(BOX, "car")

    assert found and found[1] == "car"


def test_a_rectangle_and_labels_are_a_pair() -> None:
    tags = ('<Rectangle name="draw" toName="img"/>', labels_tag("Labels", "class", "cat"))

    found = a_binding("detection", IMAGE, *tags).outlet(BOX, "cat")

    assert found and found[0].tool and (found[0].tool.name, found[0].control.name) == ("draw", "class")


def test_labels_that_are_offered_nowhere_are_told() -> None:
    binding = a_binding("detection", IMAGE, RECTANGLES, labels=("cat", "bus"))

    assert binding.missing_labels == ("bus",)


def test_the_source_that_can_be_labelled_is_taken() -> None:
    other = '<Image name="reference" value="$other"/>'

    assert a_binding("detection", other, IMAGE, RECTANGLES).source.name == "img"


SPOKEN = labels_tag("Labels", "who", "Speech", to="snd")
SAID = '<TextArea name="said" toName="snd" perRegion="true"/>'
WHOLE = '<TextArea name="all" toName="snd"/>'


@pytest.mark.parametrize(
    ("tags", "label", "said", "transcript"),
    [
        ((SPOKEN, SAID), "speech", "said", None),
        ((SPOKEN, SAID, WHOLE), "speech", "said", None),
        ((SPOKEN, WHOLE), "speech", None, "all"),
        ((SPOKEN, SAID, WHOLE), "noise", None, "all"),
        ((WHOLE,), "speech", None, "all"),
        ((SPOKEN,), "speech", None, None),
    ],
)
def test_what_is_said_goes_to_its_span_or_else_to_the_whole(
    tags: tuple[str], label: str, said: str | None, transcript: str | None
) -> None:
    binding = a_binding("speech", AUDIO, *tags, labels=(label,))

    assert (binding.said and binding.said.name, binding.transcript and binding.transcript.name) == (said, transcript)


@pytest.mark.parametrize(
    ("task", "tags", "labels", "reason"),
    [
        ("detection", (TEXT, labels_tag("Labels", "l", "x", to="txt")), (), r'add <Image name="image"'),
        ("detection", (IMAGE, BRUSHES), (), r'add <RectangleLabels name="label" toName="img"'),
        ("detection", (IMAGE, labels_tag("Choices", "c", "cat")), ("cat",), "takes nothing that detection finds"),
        ("detection", (IMAGE, RECTANGLES), ("bus",), '<Label value="bus"/>'),
        ("ner", ('<HyperText name="h" value="$html"/>', labels_tag("Labels", "l", "x", to="h")), (), "HyperText"),
        ("ner", ('<Text name="t" value="$t" encoding="base64"/>', labels_tag("Labels", "l", "x", to="t")), (), "plain"),
        ("ner", ('<Text name="t" value="Hi $t"/>', labels_tag("Labels", "l", "x", to="t")), (), 'shows "Hi \\$t"'),
        ("speech", (AUDIO, SAID), (), "takes nothing that speech finds"),
        ("speech", (AUDIO, SPOKEN, SAID), ("noise",), "the model gives 'noise'"),
    ],
)
def test_what_cannot_be_served_is_told_with_what_to_add(
    task: Task, tags: tuple[str], labels: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(UnservableError, match=reason) as refusal:
        bind(read_interface(view(*tags)), task, labels=labels)

    assert refusal.value.code == "unservable_config"
    assert pickle.loads(pickle.dumps(refusal.value)).reasons == refusal.value.reasons  # noqa: S301 our own


def test_what_is_advised_can_be_served() -> None:
    config = view(IMAGE, BRUSHES)
    with pytest.raises(UnservableError) as refusal:
        bind(read_interface(config), "detection", labels=("a<b",))
    advice = refusal.value.reasons[0].partition("; add ")[2]

    binding = bind(read_interface(config.replace("</View>", f"{advice}</View>")), "detection", labels=("a<b",))

    assert binding.missing_labels == ()


@pytest.mark.parametrize(
    ("tags", "task"),
    [
        ((IMAGE, RECTANGLES), "detection"),
        ((IMAGE, RECTANGLES, BRUSHES), "segmentation"),
        ((IMAGE, POLYGONS), "segmentation"),
        ((TEXT, labels_tag("Labels", "l", "x", to="txt")), "ner"),
        ((AUDIO, WHOLE), "speech"),
    ],
)
def test_the_task_is_chosen_that_fits(tags: tuple[str], task: Task) -> None:
    assert choose_task(read_interface(view(*tags)), TASKS) == task


def test_who_points_at_an_object_wants_it_segmented() -> None:
    interface = read_interface(view(IMAGE, RECTANGLES, labels_tag("KeyPointLabels", "kp", "cat", smart="true")))

    assert choose_task(interface, TASKS) == "detection"
    assert choose_task(interface, TASKS, is_interactive=True) == "segmentation"


def test_no_task_fits_a_video() -> None:
    interface = read_interface(view('<Video name="v" value="$v"/>', labels_tag("Labels", "l", "x", to="v")))

    with pytest.raises(UnservableError, match="speech: speech is for audio"):
        choose_task(interface, TASKS)


def test_labels_that_each_task_brings_are_taken_as_they_are() -> None:
    binding = a_binding("ner", TEXT, '<Labels name="l" toName="txt" value="$labels"/>', labels=("anything",))

    found = binding.outlet(TextSpan(start=0, end=1), "anything")

    assert found and found[1] == "anything"
