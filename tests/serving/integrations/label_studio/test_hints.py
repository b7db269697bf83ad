"""Checks that of a webhook only ids are read, whoever has written it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.integrations.label_studio.hints import hint_of

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)
_ACTIONS = st.sampled_from(["TASKS_CREATED", "ANNOTATION_CREATED", "ANNOTATIONS_DELETED", "TASKS_DELETED", ""])


@pytest.mark.parametrize(
    ("body", "subject", "ids"),
    [
        ({"action": "TASKS_CREATED", "tasks": [{"id": 4}, {"id": 5}, {"id": 4}]}, "tasks", (4, 5)),
        ({"action": "TASKS_CREATED", "tasks": [4, 5]}, "tasks", (4, 5)),
        ({"action": "ANNOTATION_CREATED", "annotation": {"id": 6}, "task": {"id": 4}}, "annotations", (6,)),
        ({"action": "ANNOTATIONS_CREATED", "annotation": [{"id": 6}, {"id": 7}]}, "annotations", (6, 7)),
        ({"action": "ANNOTATIONS_DELETED", "annotations": [{"id": 6}]}, "annotations", (6,)),
    ],
)
def test_a_hint_is_about_tasks_or_annotations(body: dict[str, Any], subject: str, ids: tuple[int, ...]) -> None:
    hint = hint_of(body)

    assert hint is not None and (hint.action, hint.ids) == (subject, ids)


@pytest.mark.parametrize("action", ["TASKS_DELETED", "PROJECT_UPDATED", "LABEL_LINK_CREATED", None, 7])
def test_other_actions_are_no_hints(action: object) -> None:
    assert hint_of({"action": action, "tasks": [{"id": 4}], "annotation": {"id": 6}}) is None


@given(action=_ACTIONS, tasks=_JSON, annotations=_JSON)
def test_whatever_a_webhook_holds_a_hint_holds_ids_that_a_store_can_keep(
    action: str, tasks: Any, annotations: Any
) -> None:
    hint = hint_of({"action": action, "tasks": tasks, "annotations": annotations, "annotation": annotations})

    assert hint is None or (hint.ids and all(type(one) is int and 0 < one < 2**63 for one in hint.ids))
