"""Checks which extras a task's settings switch on, and that none of them can fail an item."""

from __future__ import annotations

import asyncio
import logging

import pytest
from pydantic import TypeAdapter, ValidationError

from models.errors import ConfigError, OverloadedError
from models.types import Content, Prediction, Priority, Task
from pipelines.disagreement import Extras, extras_of
from pipelines.tasks import TaskCard

TEXT = Content(media="text", data=b"Anna met Omar.")
CARDS: dict[Task, TaskCard] = {
    "detection": TaskCard(task="detection", models=("finder",)),
    "segmentation": TaskCard(task="segmentation", models=("finder", "outliner")),
    "ner": TaskCard(task="ner", models=("tagger",)),
    "speech": TaskCard(task="speech", models=("listener",)),
}


class Models:
    """Answers nothing, or fails, or never answers; remembers how long it was given."""

    def __init__(self, *, error: Exception | None = None, is_stuck: bool = False) -> None:
        self.error, self.is_stuck = error, is_stuck
        self.given_s = list[float | None]()

    async def predict(
        self, model: str, content: Content, *, priority: Priority, deadline_s: float | None
    ) -> Prediction:
        self.given_s.append(deadline_s)
        if self.error is not None:
            raise self.error
        if self.is_stuck:
            await asyncio.Event().wait()
        return Prediction()


async def measure(models: Models, *, deadline_s: float | None = None) -> dict[str, float]:
    [extra] = extras_of(Extras(second_model="other"), CARDS["ner"])
    return await extra.measure(TEXT, Prediction(), models, priority="bulk", deadline_s=deadline_s)


def test_nothing_is_on_unless_it_is_asked_for() -> None:
    assert all(extras_of(Extras(), card) == () for card in CARDS.values())


@pytest.mark.parametrize(
    ("task", "extras", "count"),
    [
        ("detection", Extras(flip=True, second_model="other"), 2),
        ("segmentation", Extras(flip=True, jitter=True, second_model="other"), 3),
        ("ner", Extras(second_model="other"), 1),
        ("speech", Extras(second_model="other"), 1),
    ],
)
def test_each_task_has_its_extras(task: Task, extras: Extras, count: int) -> None:
    assert len(extras_of(extras, CARDS[task])) == count


@pytest.mark.parametrize(
    ("task", "extras", "message"),
    [
        ("ner", Extras(flip=True), "has none"),
        ("speech", Extras(jitter=True), "has none"),
        ("detection", Extras(jitter=True), "has none"),
        ("ner", Extras(second_model="tagger"), "does task 'ner' already"),
    ],
)
def test_an_extra_that_does_not_apply_is_refused(task: Task, extras: Extras, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        extras_of(extras, CARDS[task])


def test_a_segmenter_without_a_detector_cannot_be_asked_about_a_mirrored_image() -> None:
    with pytest.raises(ConfigError, match="flip"):
        extras_of(Extras(flip=True), TaskCard(task="segmentation", models=("outliner",)))


def test_settings_are_read_from_a_mapping_and_refuse_what_they_do_not_know() -> None:
    schema = TypeAdapter(Extras)

    assert schema.validate_python({"flip": True, "second_model": "b"}) == Extras(flip=True, second_model="b")
    with pytest.raises(ValidationError, match="flop"):
        schema.validate_python({"flop": True})


@pytest.mark.parametrize("error", [OverloadedError(), RuntimeError("a bug")])
async def test_an_extra_that_fails_leaves_out_its_entries_and_says_so(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found = await measure(Models(error=error))

    assert found == {}
    assert "SecondModel" in caplog.text


async def test_an_extra_that_is_slow_leaves_half_of_the_time_to_the_item(caplog: pytest.LogCaptureFixture) -> None:
    models = Models(is_stuck=True)

    async with asyncio.timeout(30.0):
        found = await measure(models, deadline_s=0.05)

    assert found == {}
    assert models.given_s == [0.025]
    assert "took longer" in caplog.text


async def test_an_item_that_is_given_up_takes_its_extras_with_it() -> None:
    """Only what is cancelled from outside ends an extra with an exception."""
    task = asyncio.create_task(measure(Models(is_stuck=True)))
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_without_a_deadline_an_extra_takes_as_long_as_it_needs() -> None:
    models = Models()

    assert await measure(models) == {"second_model": 0.0}
    assert models.given_s == [None]
