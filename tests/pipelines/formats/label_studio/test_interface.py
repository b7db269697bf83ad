"""Tests that a labelling interface is read as Label Studio's own library reads it, and nothing in it is trusted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import ConfigError
from pipelines.formats.label_studio.interface import LabelTag, read_interface
from tests.pipelines.formats.label_studio.builders import AUDIO, IMAGE, TEXT, labels_tag, view
from tests.pipelines.formats.readers import Reader, reader


@pytest.fixture(scope="module")
def library() -> Iterator[Reader]:
    with reader("label_studio", "label_studio") as sdk:
        yield sdk


def test_sources_and_controls_are_read_with_their_names() -> None:
    interface = read_interface(
        view(IMAGE, labels_tag("RectangleLabels", "box", "Car", "Person|P", smart="true", choice="multiple"))
    )

    (source,), (control,) = interface.sources, interface.controls
    assert (source.name, source.field, source.media) == ("img", "image_url", "image")
    assert (control.name, control.kind, control.to_name) == ("box", "rectanglelabels", ("img",))
    assert (control.is_smart, control.is_multiple, control.is_per_region) == (True, True, False)
    assert [label.written for label in control.labels] == ["Car", "P"]


def test_predicted_values_are_a_list() -> None:
    config = view(IMAGE, '<RectangleLabels name="b" toName="img"><Label value="V" predicted_values="car, truck,"/>')

    (control,) = read_interface(config.replace("</View>", "</RectangleLabels></View>")).controls

    assert control.labels == (LabelTag(value="V", predicted_values=("car", "truck")),)


def test_labels_may_lie_deep_within_their_control() -> None:
    nested = '<Choices name="c" toName="txt"><View><View><Choice value="a"/></View></View></Choices>'

    (control,) = read_interface(view(TEXT, nested)).controls

    assert [label.value for label in control.labels] == ["a"]


@pytest.mark.parametrize("value", ["https://example.com/$image", "plain", "$a,$b"])
def test_a_value_that_is_no_single_field_has_none(value: str) -> None:
    config = view(f'<Image name="img" value="{value}"/>', labels_tag("RectangleLabels", "b", "x"))

    assert read_interface(config).sources[0].field is None


def test_a_list_of_images_has_no_single_field() -> None:
    config = view('<Image name="img" valueList="$pages"/>', labels_tag("RectangleLabels", "b", "x"))

    assert read_interface(config).sources[0].field is None


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ("", "no XML"),
        ("<View><Image", "no XML"),
        ("\ud800", "lone surrogate"),
        ("<View/>", "shows nothing"),
        (view(IMAGE), "takes no labels"),
        (view(*["<View>"] * 200), "more than 100 in each other"),
        (view(*['<Header value="x"/>'] * 60_000), "more than 50000 tags"),
        (" " * 5_000_000, "5000000 characters"),
        ("<View>&nbsp;</View>", "undefined entity"),
    ],
)
def test_what_is_no_interface_is_refused_in_words(config: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as refusal:
        read_interface(config)

    assert refusal.value.code == "bad_label_config"


def test_entities_are_never_expanded() -> None:
    lol = '<!DOCTYPE v [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'

    with pytest.raises(ConfigError, match="document type"):
        read_interface(lol + view('<Text name="t" value="$t"/>', '<Labels name="&b;" toName="t"/>'))


def test_a_file_is_never_opened() -> None:
    with pytest.raises(ConfigError, match="document type"):
        read_interface('<!DOCTYPE v SYSTEM "file:///etc/passwd"><View/>')


_CONTROLS = ("RectangleLabels", "BrushLabels", "PolygonLabels", "Labels", "Choices", "KeyPointLabels")
_labels = st.lists(st.text("ab é😀'.", min_size=1, max_size=3), min_size=1, max_size=4)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(_CONTROLS), _labels), min_size=1, max_size=5))
def test_names_and_labels_are_those_that_the_library_finds(library: Reader, drawn: list[tuple[str, list[str]]]) -> None:
    controls = [labels_tag(tag, f"c{place}", *labels) for place, (tag, labels) in enumerate(drawn)]
    config = view(AUDIO, IMAGE, *controls)

    interface = read_interface(config)

    theirs = library.ask(config=config)
    assert {control.name: [label.written for label in control.labels] for control in interface.controls} == theirs[
        "labels"
    ]
    assert {source.name: source.field for source in interface.sources} == theirs["sources"]
