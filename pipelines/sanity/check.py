"""Checks one prediction against all rules, in an order in which no repair undoes another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from models.types import Box, Mask, Polygon, Prediction, Task, TextSpan, TimeSpan
from pipelines.sanity import boxes, exclusive, masks, polygons, spans, speech
from pipelines.sanity.draft import Draft
from pipelines.sanity.finding import Checked
from pipelines.sanity.rules import RULES, Rule, SanityRules
from pipelines.tasks import GEOMETRIES

_Step = tuple[tuple[Rule, ...], type | None, Callable[[Draft], None]]

# The rules that each step serves, and the geometry that it is about; None for any. First what concerns one annotation
# alone, then what compares those that are left; last what counts neighbours.
_STEPS: tuple[_Step, ...] = (
    (("zero_area",), Box, boxes.without_area),
    (("outside_image",), Box, boxes.outside),
    (("outside_image",), Polygon, polygons.outside),
    (("degenerate_polygon",), Polygon, polygons.degenerate),
    (("zero_area", "mask_crumbs"), Mask, masks.in_crumbs),
    (("sliver",), Box, boxes.slivers),
    (("tiny_box",), Box, boxes.tiny),
    (("outside_text",), TextSpan, spans.outside),
    (("empty_span",), TextSpan, spans.empty),
    (("untrimmed_span",), TextSpan, spans.untrimmed),
    (("outside_recording",), TimeSpan, speech.outside),
    (("empty_speech",), TimeSpan, speech.empty),
    (("duplicate",), Box, boxes.duplicates),
    (("duplicate",), TextSpan, spans.duplicates),
    (("exclusive_labels",), None, exclusive.contradictions),
    (("nested_box",), Box, boxes.nested),
    (("overlap_same_label",), TextSpan, spans.overlapping_same_label),
    (("overlap_other_label",), TextSpan, spans.overlapping_other_label),
    (("repetition",), TimeSpan, speech.repetitive),
    (("repetition",), TimeSpan, speech.repeated),
)


def rules_of(*tasks: Task) -> list[Rule]:
    """The rules that can find something in predictions of these tasks."""
    kinds = {None, *(kind for task in tasks for kind in GEOMETRIES[task])}
    concerned = {name for names, kind, _ in _STEPS if kind in kinds for name in names}
    return [rule for rule in RULES if rule in concerned]


def check(
    prediction: Prediction,
    *,
    task: Task,
    rules: SanityRules,
    text: str | None = None,
    exclusive: Sequence[Mapping[str, str]] = (),
) -> Checked:
    """What is wrong with a prediction, and the prediction with what the rules repair.

    Annotations keep their order and their ids. The parts of what is removed (a box's mask, a segment's words) go with
    it. Checked again by the same rules, the result is repaired no further. The signal ``min_score`` is taken over what
    is left; ``no_miss`` counts what was removed and nothing else stands for.

    A rule finds nothing where it lacks what it compares with: the image's size, the recording's length, the text.

    Args:
        text: of a text item, as the spans count it.
        exclusive: groups of labels of which one thing bears at most one: label → its side of the group. Labels on the
            same side do not exclude each other (see ``Ontology.exclusions``).
    """
    if not prediction.annotations:
        return Checked(prediction=prediction)
    draft = Draft(prediction, task=task, rules=rules, text=text, exclusive=exclusive)
    with np.errstate(all="ignore"):  # coordinates may be of any size; comparisons with inf and nan say what they should
        for names, kind, step in _STEPS:
            if (kind is None or draft.has(kind)) and any(rules.action(name) != "off" for name in names):
                step(draft)
    return draft.checked()
