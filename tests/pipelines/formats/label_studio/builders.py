"""Builds interfaces, bindings and outcomes for the tests of Label Studio's format."""

from __future__ import annotations

from dataclasses import replace

from models.types import MEDIA_OF_TASK, Annotation, Item, Prediction, Task
from pipelines.formats.label_studio.binding import Binding, bind
from pipelines.formats.label_studio.interface import read_interface
from pipelines.formats.results import Result
from pipelines.types import Labelled, PreLabel
from tests.pipelines.formats.builders import a_result

IMAGE = '<Image name="img" value="$image_url"/>'
TEXT = '<Text name="txt" value="$body"/>'
AUDIO = '<Audio name="snd" value="$clip"/>'


def view(*tags: str) -> str:
    return f"<View>{''.join(tags)}</View>"


def labels_tag(tag: str, name: str, *labels: str, to: str = "img", **attributes: str) -> str:
    """A control with labels; "cat|feline" is a label with an alias."""
    one = "Choice" if tag == "Choices" else "Label"
    parts = [label.partition("|") for label in labels]
    inside = "".join(
        f'<{one} value="{value}"' + (f' alias="{alias}"/>' if alias else "/>") for value, _, alias in parts
    )
    more = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f'<{tag} name="{name}" toName="{to}"{more}>{inside}</{tag}>'


def a_binding(task: Task, *tags: str, labels: tuple[str, ...] = ()) -> Binding:
    return bind(read_interface(view(*tags)), task, labels=labels)


def found(task: Task, *annotations: Annotation, confidence: float | None = None, **more: object) -> Result:
    """A result of an image of 64 × 48 pixels, or whatever ``more`` says."""
    size_hw = (48, 64) if MEDIA_OF_TASK[task] == "image" else None
    return replace(a_result("1", *annotations, task=task, confidence=confidence), **({"size_hw": size_hw} | more))


def labelled(result: Result) -> Labelled:
    """The outcome that a result is told of."""
    assert result.decision and result.provenance
    prediction = Prediction(
        annotations=result.annotations, signals=result.signals, size_hw=result.size_hw, duration_s=result.duration_s
    )
    pre_label = PreLabel(
        prediction=prediction,
        confidence=result.confidence,
        calibrated=result.calibrated,
        uncertainty=result.uncertainty,
        provenance=result.provenance,
    )
    item = Item(id=result.id, media=MEDIA_OF_TASK[result.task], uri="data:,")
    return Labelled(item=item, task=result.task, pre_label=pre_label, decision=result.decision)
