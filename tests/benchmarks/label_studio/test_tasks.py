"""Checks that what the benchmark sends is what Label Studio sends."""

from __future__ import annotations

import orjson

from benchmarks.label_studio import tasks
from models.demo.sentences import LABELS
from models.types import TextSpan
from pipelines.formats.label_studio.binding import bind
from pipelines.formats.label_studio.interface import read_interface
from tests.serving.integrations.label_studio.recorded import recorded


def test_texts_all_differ_and_those_of_two_names_too() -> None:
    one, other = (tasks.different_texts(1_000, name=name) for name in ("one", "other"))

    assert len({*one, *other}) == 2_000


def test_a_call_has_the_fields_of_the_recorded_one() -> None:
    body = orjson.loads(tasks.predict_body({7: "Ada", 9: "Bob"}, project="3.1795293816"))

    sent = recorded()["predict/batch text"].body
    assert body.keys() == sent.keys()
    assert body["params"].keys() == sent["params"].keys()
    assert body["tasks"][0].keys() == sent["tasks"][0].keys()
    assert [(task["id"], task["data"], task["project"]) for task in body["tasks"]] == [
        (7, {"text": "Ada"}, 3),
        (9, {"text": "Bob"}, 3),
    ]


def test_no_text_is_in_two_bodies() -> None:
    found = [
        task["data"]["text"] for body in tasks.bodies(3, tasks=4, name="n") for task in orjson.loads(body)["tasks"]
    ]

    assert len(set(found)) == 12


def test_the_labeling_config_offers_what_the_model_gives() -> None:
    binding = bind(read_interface(tasks.label_config()), "ner", labels=LABELS)

    assert all(binding.outlet(TextSpan(start=0, end=1), label) for label in LABELS)


def test_a_setup_has_the_fields_of_the_recorded_one() -> None:
    body = orjson.loads(tasks.setup_body(project="1.5", hostname="http://ls"))

    assert body.keys() == recorded()["setup"].body.keys()


def test_slots_without_a_prediction_are_not_counted_as_filled() -> None:
    answer = orjson.dumps({"results": [{"result": []}, [], {"result": [{}]}, {"error": "no"}]})

    assert tasks.filled_slots(answer) == (2, 4)
