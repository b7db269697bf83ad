"""Checks the flow's order and its promises, with models that say what they are told to."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np
import pytest

from models.errors import ItemError, OverloadedError
from models.geometry import encode_mask
from models.types import Annotation, Box, BoxPrompt, Content, Item, Prediction, Priority, Prompts, Task, TextSpan
from pipelines.calibration import Calibration, fit_item, fit_labels
from pipelines.disagreement import Extras, extras_of
from pipelines.ontology import Alias, Class, Ontology
from pipelines.policy import Policy, ThresholdPolicy
from pipelines.prelabel import Flow, Request, pre_label, pre_label_all
from pipelines.recent import Recent
from pipelines.sanity import SanityRules
from pipelines.standards import Standards
from pipelines.tasks import TaskCard
from pipelines.types import Failed, Failure, Labelled, ModelUse, Outcome, PreLabel

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BOXES = Prediction(
    annotations=(
        Annotation(id="0", label="circle", geometry=Box(xyxy=(1, 2, 30, 40)), score=0.9),
        Annotation(id="1", label="square", geometry=Box(xyxy=(5, 5, 9, 9)), score=0.7),
    ),
    signals={"min_score": 0.7, "no_miss": 0.9, "entropy_max": 0.8},
)


@dataclass
class Scripted:
    """Fetches, predicts and saves as a test says, and remembers what it was asked."""

    answers: dict[str, Callable[[Content], Prediction]] = field(default_factory=dict)
    asked: list[tuple[str, Content]] = field(default_factory=list)
    urgencies: list[tuple[Priority, float | None]] = field(default_factory=list)
    saved: list[Outcome] = field(default_factory=list)
    save_by: list[float | None] = field(default_factory=list)
    is_full: bool = False

    async def fetch(self, item: Item) -> Content:
        if item.uri == "gone":
            raise ItemError("not_found", "it is gone")
        return Content(media=item.media, data=(item.uri or "").encode(), prompts=item.prompts)

    async def predict(
        self, model: str, content: Content, *, priority: Priority, deadline_s: float | None
    ) -> Prediction:
        self.urgencies.append((priority, deadline_s))
        self.asked.append((model, content))
        if content.data == b"slow":
            await asyncio.Event().wait()
        return self.answers[model](content)

    def use_of(self, model: str) -> ModelUse:
        return ModelUse(name=model, version="1", weights_digest=model * 8, config_digest="c")

    def check_room(self) -> None:
        if self.is_full:
            raise OverloadedError(message="told to be full")

    async def save(self, outcomes: Sequence[Outcome], *, run_id: str | None, begin_by: float | None) -> list[Outcome]:
        self.save_by.append(begin_by)
        self.saved += outcomes
        return list(outcomes)


def masks(content: Content) -> Prediction:
    annotations = tuple(
        Annotation(
            id=str(n),
            label=prompt.label,
            geometry=encode_mask(np.ones((50, 50), dtype=bool)),
            score=0.6 + n / 10,
            parent_id=prompt.parent_id,
        )
        for n, prompt in enumerate(content.prompts.boxes)
    )
    return Prediction(annotations=annotations, signals={"min_score": 0.6, "stability_min": 0.95})


def a_flow(scripted: Scripted) -> Flow:
    policy = ThresholdPolicy(queue="images", accept_score=0.65)
    tasks: dict[Task, TaskCard] = {
        "detection": TaskCard(task="detection", models=("finder",)),
        "segmentation": TaskCard(task="segmentation", models=("finder", "outliner")),
        "ner": TaskCard(task="ner", models=("tagger",)),
    }
    return Flow(
        fetcher=scripted,
        models=scripted,
        tasks=tasks,
        policies=dict.fromkeys(tasks, policy),
        store=scripted,
        clock=lambda: NOW,
    )


def an_image(uri: str = "a.jpg", *, task: Task = "detection") -> Request:
    return Request(item=Item(id=uri, media="image", uri=uri), task=task)


def labelled(outcome: Outcome) -> Labelled:
    assert isinstance(outcome, Labelled), outcome
    return outcome


async def test_an_item_comes_out_with_scores_a_decision_and_its_origin() -> None:
    flow = a_flow(Scripted({"finder": lambda _: BOXES}))

    outcome = labelled(await pre_label(an_image(), flow))

    assert outcome.pre_label.prediction == BOXES
    assert outcome.pre_label.confidence is None
    assert not outcome.pre_label.calibrated
    assert outcome.pre_label.uncertainty == pytest.approx(
        {"least_confidence": 0.3, "miss_risk": 0.1, "entropy_max": 0.8}
    )
    assert outcome.decision.route == "accept"
    assert outcome.pre_label.provenance.item_digest == hashlib.sha256(b"a.jpg").hexdigest()
    assert outcome.pre_label.provenance.chain == ("finder@1:finderfinder",)
    assert outcome.pre_label.provenance.created_at == NOW


async def test_a_detectors_boxes_prompt_the_segmenter_and_masks_name_their_boxes() -> None:
    scripted = Scripted({"finder": lambda _: BOXES, "outliner": masks})

    outcome = labelled(await pre_label(an_image(task="segmentation"), a_flow(scripted)))

    prediction = outcome.pre_label.prediction
    assert [model for model, _ in scripted.asked] == ["finder", "outliner"]
    assert [(a.id, a.label, a.parent_id) for a in prediction.annotations] == [
        ("0", "circle", None),
        ("1", "square", None),
        ("m0", "circle", "0"),
        ("m1", "square", "1"),
    ]
    assert prediction.signals["min_score"] == 0.6
    assert prediction.signals["no_miss"] == 0.9
    assert outcome.decision.route == "review"


async def test_without_boxes_the_segmenter_is_not_asked() -> None:
    scripted = Scripted({"finder": lambda _: Prediction(signals={"no_miss": 0.4})})

    outcome = labelled(await pre_label(an_image(task="segmentation"), a_flow(scripted)))

    assert [model for model, _ in scripted.asked] == ["finder"]
    assert outcome.pre_label.prediction.status == "nothing_found"
    assert outcome.pre_label.provenance.model == "finder"
    assert outcome.pre_label.provenance.chain == ("finder@1:finderfinder",)
    assert outcome.decision.route == "review"


async def test_boxes_of_the_caller_stand_in_for_the_detector_which_is_not_named() -> None:
    scripted = Scripted({"outliner": masks})
    request = an_image(task="segmentation")
    prompts = Prompts(boxes=(BoxPrompt(xyxy=(1, 2, 30, 40), label="circle"),))

    outcome = labelled(await pre_label(replace(request, item=replace(request.item, prompts=prompts)), a_flow(scripted)))

    assert [model for model, _ in scripted.asked] == ["outliner"]
    assert outcome.pre_label.provenance.chain == ("outliner@1:outlineroutl",)


async def test_outcomes_keep_the_order_and_one_failure_costs_nothing_else() -> None:
    scripted = Scripted({"finder": lambda _: BOXES})
    requests = [an_image("a.jpg"), an_image("gone"), an_image("b.jpg")]

    outcomes = await pre_label_all(requests, a_flow(scripted), run_id="r")

    assert [outcome.item.id for outcome in outcomes] == ["a.jpg", "gone", "b.jpg"]
    assert isinstance(outcomes[1], Failed)
    assert outcomes[1].failure == Failure(code="not_found", message="it is gone")
    assert isinstance(outcomes[0], Labelled)
    assert isinstance(outcomes[2], Labelled)
    assert scripted.saved == outcomes


async def test_a_mistake_of_ours_costs_one_item_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    def broken(content: Content) -> Prediction:
        if content.data == b"odd":
            raise ZeroDivisionError
        return BOXES

    scripted = Scripted({"finder": broken})

    outcomes = await pre_label_all([an_image("a.jpg"), an_image("odd")], a_flow(scripted), run_id="r")

    assert isinstance(outcomes[0], Labelled)
    assert isinstance(outcomes[1], Failed)
    assert outcomes[1].failure.code == "internal"
    assert "ZeroDivisionError" in caplog.text
    assert scripted.saved == outcomes


async def test_one_large_call_does_not_fill_the_models_queues() -> None:
    scripted = Scripted({"finder": lambda _: BOXES})
    calling = asyncio.create_task(pre_label_all([an_image("slow")] * 300, a_flow(scripted), run_id="r", deadline_s=0.2))
    await asyncio.sleep(0.1)

    assert len(scripted.asked) == 128
    outcomes = await calling
    assert {outcome.failure.code for outcome in outcomes if isinstance(outcome, Failed)} == {"timeout"}
    assert len(outcomes) == 300


async def test_an_item_over_its_deadline_fails_and_the_others_are_kept() -> None:
    flow = a_flow(Scripted({"finder": lambda _: BOXES}))

    outcomes = await pre_label_all([an_image("slow"), an_image("a.jpg")], flow, run_id="r", deadline_s=0.05)

    assert isinstance(outcomes[0], Failed)
    assert outcomes[0].failure.code == "timeout"
    assert isinstance(outcomes[1], Labelled)


async def test_a_task_of_another_medium_or_not_deployed_fails_the_item() -> None:
    flow = a_flow(Scripted())
    text = Item(id="t", media="text", text="Ada")

    wrong_media = await pre_label(Request(item=text, task="detection"), flow)
    unknown = await pre_label(Request(item=text, task="speech"), flow)

    assert isinstance(wrong_media, Failed)
    assert wrong_media.failure.code == "wrong_media"
    assert isinstance(unknown, Failed)
    assert "deployed: detection, ner, segmentation" in unknown.failure.message


async def test_only_the_wanted_labels_are_kept_and_judged() -> None:
    request = an_image()
    request = replace(request, item=replace(request.item, prompts=Prompts(labels=("circle",))))

    outcome = labelled(await pre_label(request, a_flow(Scripted({"finder": lambda _: BOXES}))))

    assert [a.label for a in outcome.pre_label.prediction.annotations] == ["circle"]
    assert outcome.pre_label.prediction.signals["min_score"] == 0.9


SHAPES = Ontology(
    classes=(Class(name="round"), Class(name="angular")),
    aliases=(Alias(labels=("circle",), to="round", model="finder"),),
    unmapped="drop",
)
SLOPPY = Prediction(
    annotations=(
        Annotation(id="0", label="circle", geometry=Box(xyxy=(-9, 2, 30, 40)), score=0.9),
        Annotation(id="1", label="star", geometry=Box(xyxy=(5, 5, 9, 9)), score=0.3),
        Annotation(id="2", label="circle", geometry=Box(xyxy=(7, 7, 7, 9)), score=0.2),
    ),
    signals={"min_score": 0.2, "no_miss": 0.9},
    size_hw=(50, 50),
)


async def test_what_is_published_is_checked_mapped_and_judged_as_such() -> None:
    flow = replace(a_flow(Scripted({"finder": lambda _: SLOPPY})), standards=Standards(ontology=SHAPES))

    outcome = labelled(await pre_label(an_image(), flow))

    found = outcome.pre_label
    assert [(a.label, a.geometry) for a in found.prediction.annotations] == [("round", Box(xyxy=(0, 2, 30, 40)))]
    assert [(one.rule, one.annotation_id, one.action) for one in found.findings] == [
        ("zero_area", "2", "removed"),
        ("outside_image", "0", "changed"),
    ]
    assert found.unmapped == {"star": 1}
    assert found.uncertainty["least_confidence"] == pytest.approx(0.1)
    assert outcome.decision.route == "accept"
    assert found.provenance.rules_digest == SanityRules().digest()
    assert found.provenance.ontology_digest == SHAPES.digest()


async def test_rules_that_are_off_leave_what_the_model_said() -> None:
    rules = SanityRules(zero_area="off", outside_image="off")
    flow = replace(a_flow(Scripted({"finder": lambda _: SLOPPY})), standards=Standards(rules=rules))

    outcome = labelled(await pre_label(an_image(), flow))

    assert outcome.pre_label.prediction == SLOPPY
    assert outcome.pre_label.findings == ()
    assert outcome.pre_label.provenance.ontology_digest is None


async def test_the_segmenter_is_prompted_with_what_the_detector_said() -> None:
    """The standards are the project's; between two models nothing is renamed or repaired."""
    scripted = Scripted({"finder": lambda _: SLOPPY, "outliner": masks})
    flow = replace(a_flow(scripted), standards=Standards(ontology=SHAPES))

    outcome = labelled(await pre_label(an_image(task="segmentation"), flow))

    [_, (_, asked)] = scripted.asked
    assert [prompt.label for prompt in asked.prompts.boxes] == ["circle", "star", "circle"]
    assert [(a.id, a.label) for a in outcome.pre_label.prediction.annotations] == [("0", "round"), ("m0", "round")]
    assert outcome.pre_label.unmapped == {"star": 2}


@pytest.mark.parametrize(("text", "end"), [("Ada\n", 3), ("\ufeffÅda\0 ", 5)])
async def test_spans_are_held_against_the_text_as_the_model_counts_it(text: str, end: int) -> None:
    def whole(content: Content) -> Prediction:
        span = Annotation(id="0", label="person", geometry=TextSpan(start=0, end=len(text)), score=0.9, text=text)
        return Prediction(annotations=(span,))

    item = Item(id="t", media="text", uri=text)

    outcome = labelled(await pre_label(Request(item=item, task="ner"), a_flow(Scripted({"tagger": whole}))))

    [span] = outcome.pre_label.prediction.annotations
    assert span.geometry == TextSpan(start=0, end=end)
    assert span.text == text[:end].replace("\0", "\ufffd")


async def test_a_large_prediction_is_checked_beside_the_event_loop_and_no_differently() -> None:
    boxes = tuple(
        Annotation(id=str(n), label=f"c{n}", geometry=Box(xyxy=(-5, 0, 9 + n, 9)), score=0.9) for n in range(300)
    )
    large = Prediction(annotations=boxes, signals={"min_score": 0.9}, size_hw=(50, 50))

    outcome = labelled(await pre_label(an_image(), a_flow(Scripted({"finder": lambda _: large}))))

    published = Standards().publish(large, task="detection")
    assert outcome.pre_label.prediction == published.prediction != large
    assert (outcome.pre_label.findings, outcome.pre_label.more_findings) == (
        published.findings,
        published.more_findings,
    )


async def test_equal_contents_of_a_run_have_the_same_findings() -> None:
    scripted = Scripted({"finder": lambda _: SLOPPY})
    recent = Recent(_nothing_stored)
    flow = replace(a_flow(scripted), standards=Standards(ontology=SHAPES), known=recent)
    first = labelled(await pre_label(an_image(), flow))
    recent.add(first.pre_label)

    again = labelled(await pre_label(an_image(), flow))

    assert len(scripted.asked) == 1
    assert again.pre_label == first.pre_label
    assert again.pre_label.findings
    assert again.pre_label.unmapped


async def _nothing_stored(digests: Collection[str]) -> Mapping[str, PreLabel]:
    return {}


async def test_the_models_are_told_who_waits_and_how_long_is_left() -> None:
    scripted = Scripted({"finder": lambda _: BOXES, "outliner": masks})

    await pre_label_all([an_image(task="segmentation")], a_flow(scripted), priority="bulk", deadline_s=30.0)

    [(first, left), (second, less)] = scripted.urgencies
    assert (first, second) == ("bulk", "bulk")
    assert left is not None
    assert less is not None
    assert 0.0 < less <= left <= 30.0


async def test_a_store_that_cannot_keep_up_is_said_before_any_work() -> None:
    scripted = Scripted({"finder": lambda _: BOXES}, is_full=True)

    with pytest.raises(OverloadedError, match="told to be full"):
        await pre_label_all([an_image()], a_flow(scripted))

    assert scripted.asked == []


async def test_the_store_is_told_by_when_to_begin() -> None:
    scripted = Scripted({"finder": lambda _: BOXES})
    now = asyncio.get_running_loop().time()

    await pre_label_all([an_image()], replace(a_flow(scripted), save_s=3.0), deadline_s=30.0)
    await pre_label_all([an_image()], a_flow(scripted))

    [begin_by, whenever] = scripted.save_by
    assert begin_by is not None
    assert now + 33.0 <= begin_by < now + 63.0
    assert whenever is None


def a_calibration(*, chain: tuple[str, ...] = ("finder@1:finderfinder",)) -> Calibration:
    """Every label is right half as often as its score says, and so is every item."""
    rng = np.random.default_rng(1)
    scores = rng.uniform(0.01, 0.99, 400)
    is_right = rng.uniform(size=400) < scores / 2
    labels = fit_labels(["circle"] * 400, scores, is_right=is_right, fitted_at=NOW, rng=rng)
    item = fit_item([{}] * 400, is_right, raw_scores=scores, fitted_at=NOW, rng=rng)
    return Calibration(task="detection", chain=chain, config_digest="c", labels=labels, item=item, created_at=NOW)


async def test_a_calibration_of_these_models_gives_every_label_and_the_item_a_confidence() -> None:
    calibration = a_calibration()
    flow = replace(a_flow(Scripted({"finder": lambda _: BOXES})), calibrations={"detection": calibration})

    said = labelled(await pre_label(an_image(), flow)).pre_label

    assert said.calibrated and said.confidence is not None and 0.0 < said.confidence < 0.6
    assert said.provenance.calibration_id == calibration.id
    assert [a.score for a in said.prediction.annotations] == [a.score for a in BOXES.annotations]
    assert all(a.confidence is not None and a.confidence < a.score for a in said.prediction.annotations)


async def test_a_calibration_of_other_models_is_not_used() -> None:
    other = a_calibration(chain=("finder@1:other",))
    flow = replace(a_flow(Scripted({"finder": lambda _: BOXES})), calibrations={"detection": other})

    said = labelled(await pre_label(an_image(), flow)).pre_label

    assert (said.calibrated, said.confidence, said.provenance.calibration_id) == (False, None, None)
    assert said.prediction == BOXES


async def test_the_policy_that_is_in_force_when_the_models_have_answered_decides() -> None:
    strict = ThresholdPolicy(queue="images", accept_score=0.99)
    policies: dict[Task, Policy] = {"detection": ThresholdPolicy(queue="images", accept_score=0.1)}

    def answer(_: Content) -> Prediction:
        policies["detection"] = strict  # is activated while the models work
        return BOXES

    flow = replace(a_flow(Scripted({"finder": answer})), policies=policies)

    outcome = labelled(await pre_label(an_image(), flow))

    assert (outcome.decision.route, outcome.decision.policy_id) == ("review", strict.id)
    assert outcome.pre_label.provenance.policy_id == strict.id


async def test_extras_ask_once_more_and_add_their_doubts() -> None:
    scripted = Scripted({"finder": lambda _: BOXES, "second": lambda _: Prediction()})
    card = TaskCard(task="detection", models=("finder",))
    extras = extras_of(Extras(second_model="second"), card)
    flow = replace(a_flow(scripted), extras={"detection": extras})

    said = labelled(await pre_label(an_image(), flow)).pre_label

    assert said.uncertainty["second_model"] == 1.0  # it has found nothing of it
    assert [model for model, _ in scripted.asked] == ["finder", "second"]


async def test_an_extra_that_fails_costs_its_entry_and_not_the_item() -> None:
    def fails(_: Content) -> Prediction:
        raise ItemError("model_failed", "told to fail")

    extras = extras_of(Extras(second_model="second"), TaskCard(task="detection", models=("finder",)))
    flow = replace(a_flow(Scripted({"finder": lambda _: BOXES, "second": fails})), extras={"detection": extras})

    said = labelled(await pre_label(an_image(), flow)).pre_label

    assert "second_model" not in said.uncertainty and said.prediction == BOXES
