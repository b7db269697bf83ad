"""Checks what is read of a call: which task of ours is meant, and which item stands for a task of Label Studio."""

from __future__ import annotations

from typing import Any

import pytest

from models.errors import ConfigError
from models.types import Prompts
from pipelines.errors import NotFoundError
from pipelines.formats.label_studio.unservable import UnservableError
from pipelines.ontology import Class, Ontology
from pipelines.store.label_studio.deliveries import Wanted
from serving.integrations.label_studio.call import FAILED, PredictBody, Refused, bound, deployed, filled, wanted
from serving.settings import Settings
from tests.pipelines.formats.label_studio.builders import IMAGE, TEXT, labels_tag, view
from tests.serving.integrations.label_studio.builders import settings_of_all

URL = "postgresql://unused"
SPANS = view(TEXT, labels_tag("Labels", "label", "PER", to="txt"))
BOXES = view(IMAGE, labels_tag("RectangleLabels", "box", "Car", "Bus"))
BRUSHES = view(IMAGE, labels_tag("BrushLabels", "brush", "Car"))


def settings(*labels: str) -> Settings:
    """With an ontology of these labels."""
    ontology = Ontology(classes=tuple(Class(name=label) for label in labels)) if labels else None
    return settings_of_all(URL).model_copy(update={"ontology": ontology})


def one(given: Any, config: str = SPANS, *labels: str, task: str = "auto") -> Wanted | Refused:
    return wanted(given, bound(settings(), task, config, given=lambda _: labels), server_url="http://ls:8080/x")


def a_wanted(given: Any, config: str = SPANS, *labels: str) -> Wanted:
    found = one(given, config, *labels)
    assert isinstance(found, Wanted), found.reason
    return found


@pytest.mark.parametrize(
    ("asked", "config", "is_interactive", "task"),
    [
        ("auto", SPANS, False, "ner"),
        ("auto", BOXES, False, "detection"),
        ("auto", BOXES, True, "segmentation"),
        ("auto", BRUSHES, False, "segmentation"),
        ("detection", BRUSHES, True, "segmentation"),  # a click wants the object, whatever the path is for
        ("detection", BOXES, False, "detection"),
        ("segmentation", BOXES, False, "segmentation"),
    ],
)
def test_a_path_and_a_labeling_config_mean_a_task(asked: str, config: str, is_interactive: bool, task: str) -> None:
    assert bound(settings(), asked, config, is_interactive=is_interactive).task == task


def test_what_is_meant_by_nothing_is_refused() -> None:
    with pytest.raises(NotFoundError, match="choose one of: auto, detection"):
        bound(settings(), "cooking", SPANS)
    with pytest.raises(ConfigError):
        bound(settings(), "auto", "")
    with pytest.raises(UnservableError):
        bound(settings(), "ner", BOXES)
    assert deployed(settings(), "speech") == ("speech",)


def test_a_task_is_an_item_by_its_id_and_what_is_labelled_of_it() -> None:
    first = a_wanted({"id": 7, "data": {"body": "Ann", "source": "mail"}, "predictions": [1], "updated_at": "x"})
    same = a_wanted({"id": 7, "data": {"body": "Ann", "source": "post"}})
    other_text = a_wanted({"id": 7, "data": {"body": "Bob"}})
    other_task = a_wanted({"id": 8, "data": {"body": "Ann"}})

    assert (first.task_id, first.item.text, first.item.meta) == (7, "Ann", {"source": "mail"})
    assert first.key == same.key and first.item.id == same.item.id
    assert len({first.key, other_text.key, other_task.key}) == 3
    assert len({first.item.id, other_text.item.id, other_task.item.id}) == 3


@pytest.mark.parametrize("number", [None, "7", True, -1, 2**63, 1.0, [7]])
def test_a_task_without_an_id_that_can_be_one_has_none(number: object) -> None:
    assert a_wanted({"id": number, "data": {"body": "Ann"}}).task_id == 0


@pytest.mark.parametrize("given", [None, 7, "x", [], {}, {"id": 1}, {"id": 1, "data": []}, {"data": {"other": "x"}}])
def test_what_is_no_task_is_refused_with_a_reason(given: object) -> None:
    found = one(given)

    assert isinstance(found, Refused) and "wanted" in found.reason


def test_a_path_is_below_the_server() -> None:
    assert a_wanted({"id": 1, "data": {"image_url": "/data/upload/1/a.png"}}, BOXES).item.uri == (
        "http://ls:8080/x/data/upload/1/a.png"
    )


def test_an_item_asks_for_the_labels_that_the_project_offers_where_the_models_can_give_others() -> None:
    task = {"id": 1, "data": {"image_url": "https://example.com/a.png"}}

    unknown, all_offered = a_wanted(task, BOXES), a_wanted(task, BOXES, "car", "Bus")
    part = a_wanted(task, BOXES, "car", "chair")
    other_part = a_wanted(task, BOXES, "Bus", "chair")

    assert unknown.item.prompts == all_offered.item.prompts == Prompts()
    assert part.item.prompts == Prompts(labels=("car",))
    assert unknown.key == all_offered.key  # or what is there would be labelled anew
    assert len({unknown.key, part.key, other_part.key}) == 3  # a project that offers more later is labelled anew


def test_words_of_speech_are_asked_for_though_no_label_offers_them() -> None:
    config = view('<Audio name="a" value="$a"/>', labels_tag("Labels", "l", "speech", to="a"))

    found = a_wanted({"id": 1, "data": {"a": "https://example.com/a.wav"}}, config, "speech", "word")

    assert found.item.prompts == Prompts()


def test_slots_stand_in_the_order_of_the_tasks() -> None:
    first, second = a_wanted({"id": 1, "data": {"body": "Ann"}}), a_wanted({"id": 2, "data": {"body": "Bob"}})

    slots = filled([second, Refused(reason="x"), first, second], {second.key: {"n": 2}})

    assert slots == [{"n": 2}, FAILED, FAILED, {"n": 2}]


@pytest.mark.parametrize(
    ("params", "is_asked"),
    [
        (None, False),
        ({"context": None}, False),
        ({"context": "x"}, False),
        ({"context": {"result": []}}, False),
        ({"context": {"result": [{"type": "keypointlabels"}]}}, True),
    ],
)
def test_somebody_points_at_something_where_a_context_has_regions(params: Any, is_asked: bool) -> None:
    assert (PredictBody(tasks=[], params=params).context is not None) == is_asked
