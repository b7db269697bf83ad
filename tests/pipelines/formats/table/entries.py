"""Draws results of every task with whatever a store can hold, and the items that they belong to."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import get_args

from hypothesis import strategies as st

from models.types import (
    MEDIA_OF_TASK,
    Annotation,
    Box,
    Item,
    Mask,
    Polygon,
    Task,
    TextSpan,
    TimeSpan,
    WholeItem,
)
from pipelines.formats.exported import Exported
from pipelines.formats.results import Result
from pipelines.sanity import DEEDS, RULES, Finding, MoreFindings
from pipelines.types import Decision, Failure, Provenance

NASTY = (
    "",
    "a/b.png",
    "\"'`,;\t\r\n<&>",
    "\x00\x1b\x7f",
    "e\u0301 \u202eabc",
    "🦜👩‍👩‍👧",
    "caf\udce9",
    "\ufffddce9",
    "\ufffdfffd",
)

strings = st.text(alphabet=st.characters(), max_size=12) | st.sampled_from(NASTY)
numbers = st.floats(allow_nan=False)
counts = st.integers(0, 2**40)
times = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
points = st.tuples(numbers, numbers)

_GEOMETRIES = {
    "image": st.one_of(
        st.builds(Box, xyxy=st.tuples(numbers, numbers, numbers, numbers)),
        st.builds(Polygon, points_xy=st.lists(points, max_size=4).map(tuple)),
        st.builds(Mask, size_hw=st.tuples(counts, counts), counts=strings),
    ),
    "text": st.builds(TextSpan, start=counts, end=counts),
    "audio": st.builds(TimeSpan, start_s=numbers, end_s=numbers),
}


@st.composite
def entries(draw: st.DrawFn) -> Exported:
    task = draw(st.sampled_from(get_args(Task)))
    result = draw(results_of(task))
    item = st.builds(
        Item,
        id=st.just(result.id),
        media=st.just(MEDIA_OF_TASK[task]),
        uri=st.none() | strings,
        meta=st.dictionaries(strings, strings, max_size=2),
    )
    return Exported(result=result, item=draw(item), text=draw(st.none() | strings) if task == "ner" else None)


def results_of(task: Task) -> st.SearchStrategy[Result]:
    media = MEDIA_OF_TASK[task]
    return st.builds(
        Result,
        id=strings,
        task=st.just(task),
        status=st.sampled_from(("labels", "nothing_found", "failed")),
        annotations=st.lists(labels_of(task), max_size=3).map(tuple),
        confidence=st.none() | numbers,
        calibrated=st.booleans(),
        uncertainty=st.dictionaries(strings, numbers, max_size=2),
        signals=st.dictionaries(strings, numbers, max_size=2),
        size_hw=st.none() | st.tuples(counts, counts) if media == "image" else st.none(),
        duration_s=st.none() | numbers if media == "audio" else st.none(),
        findings=st.lists(findings, max_size=2).map(tuple),
        more_findings=st.lists(more_findings, max_size=2).map(tuple),
        unmapped=st.dictionaries(strings, counts, max_size=2),
        decision=st.none() | decisions,
        provenance=st.none() | provenances,
        error=st.none() | st.builds(Failure, code=strings, message=strings),
    )


def labels_of(task: Task) -> st.SearchStrategy[Annotation]:
    return st.builds(
        Annotation,
        id=strings,
        label=strings,
        geometry=_GEOMETRIES[MEDIA_OF_TASK[task]] | st.just(WholeItem()),
        score=numbers,
        confidence=st.none() | numbers,
        text=st.none() | strings,
        attributes=st.dictionaries(strings, strings | numbers | st.integers() | st.booleans(), max_size=2),
        parent_id=st.none() | strings,
    )


findings = st.builds(
    Finding, rule=st.sampled_from(RULES), annotation_id=strings, action=st.sampled_from(DEEDS), message=strings
)
more_findings = st.builds(MoreFindings, rule=st.sampled_from(RULES), action=st.sampled_from(DEEDS), count=counts)
decisions = st.builds(
    Decision,
    route=st.sampled_from(("accept", "audit", "review", "scratch")),
    queue=st.none() | strings,
    reason=strings,
    policy_id=strings,
    threshold=st.none() | numbers | st.sampled_from((math.inf, -math.inf)),
    propensity=numbers,
    draw=st.none() | numbers,
    is_blind=st.booleans(),
    uniform_rate=st.none() | numbers,
)
provenances = st.builds(
    Provenance,
    model=strings,
    model_version=strings,
    weights_digest=strings,
    config_digest=strings,
    calibration_id=st.none() | strings,
    policy_id=st.none() | strings,
    item_digest=strings,
    created_at=times,
    chain=st.lists(strings, max_size=2).map(tuple),
    rules_digest=st.none() | strings,
    ontology_digest=st.none() | strings,
)
