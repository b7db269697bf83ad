"""Annotates in Label Studio, and finds the answers in the correction ledger and the review queue."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import pytest

from tests.label_studio.builders import annotate
from tests.label_studio.product import Product
from tests.label_studio.projects import TEXTS, Studio, eventually

SURE = "Denndine Thalvsen has worked for Waxmann Holdings since 2029-04-05."
UNSURE = "Minutes of 2003-09-22, present were Tralsarquist, R. Lourkkdottir and a journalist."  # drop/ner/hard_00.txt


class Answered:
    """A connected project of one text, which has its prediction, and whoever annotates it."""

    def __init__(self, studio: Studio, connected: Mapping[str, Any]) -> None:
        self.studio, self.product = studio, studio.product
        [task] = studio.tasks()
        self.task = task["id"]
        self.prediction = eventually(lambda: studio.predictions(self.task))[0]
        drop = f"label-studio:{connected['connection']}"
        [self.run] = [run["id"] for run in self.product.ask("runs", "list") if run["source"].get("drop") == drop]

    def annotate(self, result: Sequence[Mapping[str, Any]] | None = None, **fields: Any) -> int:
        """Submit an annotation that began with the prediction; without a result, as it is."""
        begun = {"parent_prediction": self.prediction["id"], "result": result or self.prediction["result"]}
        return annotate(self.studio.admin, self.task, **{**begun, **fields})["id"]

    def change(self, annotation: int, **fields: Any) -> None:
        self.studio.admin.patch(f"/api/annotations/{annotation}/", json=fields).raise_for_status()

    def delete(self, annotation: int) -> None:
        self.studio.admin.delete(f"/api/annotations/{annotation}/").raise_for_status()

    def ledger(self, **facts: Any) -> dict[str, Any]:
        """What the ledger says of it, as soon as that holds these facts."""
        return eventually(
            lambda: self.product.corrections(self.run),
            until=lambda found: all(found.get(name) == fact for name, fact in facts.items()),
        )


@pytest.fixture
def answered(studio: Callable[..., Studio]) -> Callable[[str], Answered]:
    def make(text: str) -> Answered:
        project = studio(TEXTS, tasks=[{"text": text}], title="answers")
        return Answered(project, project.connect())

    return make


def relabelled(result: Sequence[Mapping[str, Any]], label: str) -> list[dict[str, Any]]:
    """The same regions, the first of them with another label."""
    changed = deepcopy([dict(region) for region in result])
    changed[0]["value"]["labels"] = [label]
    return changed


def test_the_ledger_follows_an_annotation_that_is_made_changed_deleted_and_skipped(
    answered: Callable[[str], Answered], product: Product
) -> None:
    text = answered(SURE)

    kept = text.annotate()
    found = text.ledger(reviews=1)
    assert (found["shown"], found["untouched"], found["unchanged"], found["seconds"]) == (1, 1, 3, 3.5)

    text.change(kept, result=relabelled(text.prediction["result"], "place"))
    found = text.ledger(reviews=1, untouched=0)
    assert (found["unchanged"], found["edited"], found["rejected"], found["added"]) == (2, 1, 0, 0)
    assert sum(found["errors"].values()) == 1

    text.change(kept, result=text.prediction["result"][:2])
    assert text.ledger(reviews=1, rejected=1)["unchanged"] == 2

    text.delete(kept)
    text.ledger(reviews=0)

    skipped = text.annotate(was_cancelled=True)
    again = text.annotate()
    text.ledger(reviews=1, untouched=1)  # the skip came before, and is none
    text.change(again, was_cancelled=True)
    text.ledger(reviews=0)
    assert skipped != again

    [group] = product.ask("corrections", "--run", text.run)["groups"] or [{"reviews": 0}]
    assert group["reviews"] == 0


def test_a_review_that_the_queue_holds_is_answered_in_label_studio(
    answered: Callable[[str], Answered], product: Product
) -> None:
    waiting, done = product.queue("texts")
    text = answered(UNSURE)
    assert product.queue("texts") == (waiting + 1, done)

    skipped = text.annotate(was_cancelled=True)
    annotation = text.annotate(relabelled(text.prediction["result"], "date"))

    eventually(lambda: product.queue("texts"), until=lambda now: now == (waiting, done + 1))
    assert text.ledger(reviews=1)["edited"] == 1
    [group] = product.ask("corrections", "--run", text.run, "--by", "stream")["groups"]
    assert (group["group"], group["reviews"]) == ("routed", 1)
    [queue] = [one for one in product.ask("queue") if one["name"] == "texts"]
    assert (queue["pending"], queue["done"]) == (waiting, done + 1)

    text.delete(skipped)
    text.delete(annotation)

    eventually(lambda: product.queue("texts"), until=lambda now: now == (waiting + 1, done))
    text.ledger(reviews=0)


def test_a_sure_text_that_somebody_annotates_is_volunteered(
    answered: Callable[[str], Answered], product: Product
) -> None:
    before = product.queue("texts")
    text = answered(SURE)

    text.annotate(relabelled(text.prediction["result"], "place"))

    text.ledger(reviews=1)
    [group] = product.ask("corrections", "--run", text.run, "--by", "stream")["groups"]
    assert (group["group"], group["reviews"], group["edited"]) == ("volunteered", 1, 1)
    assert product.queue("texts") == before
