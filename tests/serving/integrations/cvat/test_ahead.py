"""Checks that looking ahead spares calls, and never gives an image what belongs to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from PIL import Image

from serving.integrations.cvat.ahead import LookAhead


def an_image(shade: int) -> Image.Image:
    return Image.new("L", (4, 3), shade)


@dataclass
class Media:
    shade: int

    def load_image(self) -> Image.Image:
        if self.shade < 0:
            raise OSError("no image")
        return an_image(self.shade)


@dataclass
class Sample:
    frame_name: str
    media: Media


def samples(*shades: int) -> list[Sample]:
    return [Sample(f"{place}.png", Media(shade)) for place, shade in enumerate(shades)]


@dataclass
class Shades:
    """Labels each image with its shade."""

    calls: list[int] = field(default_factory=list)

    def label(self, images: Sequence[tuple[str, Image.Image]]) -> list[list[object]]:
        self.calls.append(len(images))
        return [[image.getpixel((0, 0))] for _, image in images]


def asked(ahead: LookAhead, *shades: int) -> list[object]:
    return [ahead.shapes(f"{place}.png", an_image(shade))[0] for place, shade in enumerate(shades)]


def test_the_next_frames_are_labelled_with_the_one_that_is_asked_for() -> None:
    service = Shades()
    ahead = LookAhead(service.label, lambda: samples(*range(10)), most=4)

    assert asked(ahead, *range(10)) == list(range(10))
    assert service.calls == [4, 4, 2]


def test_without_samples_each_image_has_a_call() -> None:
    service = Shades()

    assert asked(LookAhead(service.label, tuple, most=4), 1, 2, 3) == [1, 2, 3]
    assert service.calls == [1, 1, 1]


def test_samples_of_another_task_lend_no_labels_and_are_given_up() -> None:
    service = Shades()
    ahead = LookAhead(service.label, lambda: samples(*range(100, 120)), most=4)

    assert asked(ahead, *range(20)) == list(range(20))
    assert service.calls[:2] == [4, 4]
    assert service.calls[-10:] == [1] * 10


def test_a_frame_that_cannot_be_opened_is_not_looked_ahead_to() -> None:
    service = Shades()
    ahead = LookAhead(service.label, lambda: samples(0, -1, 2, 3), most=4)

    assert asked(ahead, 0, 7, 2, 3)[:2] == [0, 7]
    assert service.calls[0] == 3


def test_equal_images_each_get_their_labels() -> None:
    service = Shades()
    ahead = LookAhead(service.label, lambda: samples(5, 5, 5, 6), most=4)

    assert asked(ahead, 5, 5, 5, 6) == [5, 5, 5, 6]


def test_what_lies_ready_can_be_forgotten() -> None:
    service = Shades()
    ahead = LookAhead(service.label, lambda: samples(0, 1, 2, 3), most=4)
    ahead.shapes("0.png", an_image(0))

    ahead.forget()

    assert ahead.shapes("1.png", an_image(1)) == [1]
    assert service.calls == [4, 3]
