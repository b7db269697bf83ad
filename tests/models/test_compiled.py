"""Checks that a compiled network says what it says as it is; with a backend that builds no kernels, which is quick."""

from __future__ import annotations

from typing import Any

import pytest

from models.compiled import compile_part
from models.types import Geometry, Payload, Prediction, TextPayload
from tests.models.adapters.vision import a_boxed_picture, assert_same, demo_adapter, predict

TEXTS = [TextPayload(text="Anna Keldson met Omar in Dalkville."), TextPayload(text="It rained. " * 9)]
CASES: dict[str, tuple[str, list[Payload]]] = {
    "segmentation": ("image_encoder", [a_boxed_picture(0), a_boxed_picture(1), a_boxed_picture(2)]),
    "ner": ("", [*TEXTS, TEXTS[0]]),
}


@pytest.mark.parametrize("task", CASES)
def test_a_compiled_part_changes_no_answer(task: str) -> None:
    part, payloads = CASES[task]
    adapter: Any = demo_adapter(task)
    wanted = predict(adapter, payloads)

    compile_part(adapter._network.get_submodule(part), backend="eager", is_any_shape=task == "ner")

    assert adapter._network.get_submodule(part)._compiled_call_impl is not None
    for found, own in zip(predict(adapter, payloads), wanted, strict=True):
        if task == "ner":
            assert _spans(found) == _spans(own)
            assert _scores(found) == pytest.approx(_scores(own), abs=1e-5)
        else:
            assert_same(found, own)


def _spans(prediction: Prediction) -> list[Geometry]:
    return [annotation.geometry for annotation in prediction.annotations]


def _scores(prediction: Prediction) -> list[float]:
    return [annotation.score for annotation in prediction.annotations]
