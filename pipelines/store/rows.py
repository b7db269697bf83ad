"""Turns outcomes into rows and rows into outcomes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orjson import Fragment
from pydantic import TypeAdapter
from sqlalchemy import RowMapping

from models.types import Annotation, Embedding, Item, Prediction, Prompts
from pipelines import retries
from pipelines.sanity import Finding, MoreFindings
from pipelines.store.inserts import Row
from pipelines.store.jsonb import json_text, storable
from pipelines.store.tables import decisions, embeddings, items, prelabels, reviews
from pipelines.store.values import Review
from pipelines.types import Decision, Failed, Failure, Labelled, Outcome, PreLabel, Provenance

Key = tuple[str, str]  # item id and task: what names an outcome within a run

_LONGEST_ID = 1024  # bytes in UTF-8

ANNOTATIONS = TypeAdapter(tuple[Annotation, ...])
_PREDICTION = TypeAdapter(Prediction)
_PROMPTS = TypeAdapter(Prompts)
_PROVENANCE = TypeAdapter(Provenance)
_FINDINGS = TypeAdapter(tuple[Finding, ...])
_MORE_FINDINGS = TypeAdapter(tuple[MoreFindings, ...])

_OF_A_LISTING = ("run_id", "position", "listed_in")
ITEM_COLUMNS = tuple(column.label(f"item_{column.key}") for column in items.c if column.key not in _OF_A_LISTING)
PRE_LABEL_COLUMNS = (
    prelabels.c.task,
    prelabels.c.prediction,
    prelabels.c.confidence,
    prelabels.c.calibrated,
    prelabels.c.uncertainty,
    prelabels.c.provenance,
    prelabels.c.findings,
    prelabels.c.more_findings,
    prelabels.c.unmapped,
)
DECISION_COLUMNS = (
    decisions.c.route,
    decisions.c.queue,
    decisions.c.reason,
    decisions.c.policy_id,
    decisions.c.threshold,
    decisions.c.propensity,
    decisions.c.draw,
    decisions.c.is_blind,
    decisions.c.uniform_rate,
)
EMBEDDING_COLUMNS = (embeddings.c.model.label("embedding_model"), embeddings.c.data.label("embedding_data"))
REVIEW_COLUMNS = tuple(column.label(f"review_{column.key}") for column in reviews.c)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRows:
    """What one failure adds to the tables."""

    item: Row
    failure: Row


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledRows:
    """What one pre-label adds to the tables; ``review_task`` where a human has to see it, ``embedding`` if any."""

    item: Row
    prelabel: Row
    decision: Row
    review_task: Row | None
    embedding: Row | None


def item_id(given: str) -> str:
    """The id under which an item is stored; that of a stored id is the same.

    An index entry holds 2.7 kB, so a very long id ends in its digest.
    """
    encoded = storable(given).encode()
    if len(encoded) <= _LONGEST_ID:
        return encoded.decode()
    digest = "…" + hashlib.sha256(encoded).hexdigest()
    return encoded[: _LONGEST_ID - len(digest.encode())].decode(errors="ignore") + digest


def key_of(row: Row | RowMapping) -> Key:
    return row["item_id"], row["task"]


def rows_of(
    outcome: Outcome, *, run_id: str, digest: str | None, is_retried: bool = False
) -> tuple[Outcome, LabelledRows | FailedRows]:
    """The outcome as it can be stored, and its rows.

    A pre-label with numbers that the store refuses becomes a failure; its neighbours are not affected.

    Args:
        digest: what ``digest_of`` says.
        is_retried: whether somebody will try again what may work then.
    """
    if isinstance(outcome, Failed):
        return outcome, failed_rows(outcome, run_id=run_id, digest=digest, is_retried=is_retried)
    try:
        return outcome, labelled_rows(outcome, run_id=run_id, digest=digest)
    except (TypeError, ValueError) as err:
        failure = Failure(code="invalid_prediction", message=f"what the model said cannot be stored: {err}")
        failed = Failed(item=outcome.item, task=outcome.task, failure=failure)
        return failed, failed_rows(failed, run_id=run_id, digest=digest_of(failed))


def labelled_rows(labelled: Labelled, *, run_id: str, digest: str | None) -> LabelledRows:
    item = item_row(labelled.item, run_id=run_id, digest=digest)
    return LabelledRows(
        item=item | {"prompts": _written(_PROMPTS, labelled.item.prompts)},
        prelabel=prelabel_row(labelled, run_id=run_id),
        decision=decision_row(labelled.decision),
        review_task=None if labelled.decision.route == "accept" else review_task_row(labelled),
        embedding=embedding_row(labelled.pre_label),
    )


def failed_rows(failed: Failed, *, run_id: str, digest: str | None, is_retried: bool = False) -> FailedRows:
    item = item_row(failed.item, run_id=run_id, digest=digest)
    try:
        item |= {"prompts": _written(_PROMPTS, failed.item.prompts)}
    except (TypeError, ValueError):  # only an item that failed can carry such prompts
        item |= {"prompts": {}}
    return FailedRows(item=item, failure=failure_row(failed, run_id=run_id, is_retried=is_retried))


def reused_id(outcome: Outcome) -> Failed:
    """What becomes of an outcome whose item id already names another content in its run."""
    message = f"the id '{outcome.item.id}' already names another item of this run; give each item an id of its own"
    return Failed(item=outcome.item, task=outcome.task, failure=Failure(code="reused_id", message=message))


def item_row(item: Item, *, run_id: str, digest: str | None) -> Row:
    """The item's row, without its prompts."""
    return {
        "run_id": run_id,
        "id": item_id(item.id),
        "media": item.media,
        "uri": None if item.uri is None else storable(item.uri),
        "text": None if item.text is None else storable(item.text),
        "meta": Fragment(json_text(item.meta)),
        "digest": digest,
    }


def prelabel_row(labelled: Labelled, *, run_id: str) -> Row:
    pre_label = labelled.pre_label
    for name, value in pre_label.uncertainty.items():
        _must_be_share(f"uncertainty '{name}'", value)
    if pre_label.confidence is not None:
        _must_be_share("confidence", pre_label.confidence)
    return {
        "run_id": run_id,
        "item_id": item_id(labelled.item.id),
        "task": labelled.task,
        "status": pre_label.prediction.status,
        "prediction": _written(_PREDICTION, pre_label.prediction),
        "confidence": pre_label.confidence,
        "calibrated": pre_label.calibrated,
        "uncertainty": Fragment(json_text(pre_label.uncertainty)),
        "provenance": _written(_PROVENANCE, pre_label.provenance),
        "findings": _written(_FINDINGS, pre_label.findings),
        "more_findings": _written(_MORE_FINDINGS, pre_label.more_findings),
        "unmapped": Fragment(json_text(pre_label.unmapped)),
    }


def embedding_row(pre_label: PreLabel) -> Row | None:
    """The embedding of a pre-label's item, and the model of its chain that it is from."""
    found = pre_label.prediction.embedding
    if found is None:
        return None
    ran = next((entry for entry in pre_label.provenance.chain if entry.startswith(f"{found.model}@")), found.model)
    return {"model": storable(ran), "dimension": found.dimension, "data": "\\x" + found.data.hex()}


def embedding(row: RowMapping) -> Embedding | None:
    """What was stored, under the card's name again."""
    if row["embedding_data"] is None:
        return None
    return Embedding(model=row["embedding_model"].partition("@")[0], data=row["embedding_data"])


def decision_row(decision: Decision) -> Row:
    _must_be_share("propensity", decision.propensity)
    if decision.uniform_rate is not None:
        _must_be_share("uniform_rate", decision.uniform_rate)
    for name, value in (("threshold", decision.threshold), ("draw", decision.draw)):
        if value is not None and value != value:
            raise ValueError(f"wanted a number as {name}; got {value}")
    return {
        "route": decision.route,
        "queue": None if decision.queue is None else storable(decision.queue),
        "reason": storable(decision.reason),
        "policy_id": storable(decision.policy_id),
        "threshold": _number(decision.threshold),
        "propensity": decision.propensity,
        "draw": _number(decision.draw),
        "is_blind": decision.is_blind,
        "uniform_rate": decision.uniform_rate,
    }


def failure_row(failed: Failed, *, run_id: str, is_retried: bool) -> Row:
    return {
        "run_id": run_id,
        "item_id": item_id(failed.item.id),
        "task": failed.task,
        "code": storable(failed.failure.code),
        "message": storable(failed.failure.message),
        "attempts": failed.failure.attempts,
        "retry_s": retries.wait_s(failed.failure.code, attempts=failed.failure.attempts) if is_retried else None,
    }


def review_task_row(labelled: Labelled) -> Row:
    """The review task of an item that a human has to see.

    The priority is the largest of the pre-label's uncertainties (1.0 where there is none); a blind task gets another
    (places.py), or its place would tell a reviewer how sure the model is. Whoever starts from scratch sees nothing.
    """
    return {
        "queue": storable(labelled.decision.queue or "default"),
        "priority": priority(labelled.pre_label.uncertainty),
        "is_blind": labelled.decision.is_hidden,
    }


def priority(uncertainty: Mapping[str, float]) -> float:
    """How urgent a task is whose pre-label is shown."""
    return max(uncertainty.values(), default=1.0)


def digest_of(outcome: Outcome) -> str | None:
    """The sha256 of the item's content; None where a failure came before it was known."""
    if isinstance(outcome, Labelled):
        return labelled_digest(outcome)
    item = outcome.item
    content = item.data if item.text is None else item.text.encode("utf-8", "surrogatepass")
    return None if content is None else hashlib.sha256(content).hexdigest()


def labelled_digest(labelled: Labelled) -> str:
    return storable(labelled.pre_label.provenance.item_digest)


def _written(adapter: TypeAdapter[Any], value: object) -> Fragment:
    """JSON that is written once: a row takes it as it is."""
    return Fragment(json_text(adapter.dump_python(value, warnings=False)))


def _number(value: float | None) -> float | str | None:
    """A number for JSON, which has no infinity; PostgreSQL reads its name."""
    return value if value is None or math.isfinite(value) else str(value)


def _must_be_share(name: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"wanted {name} in [0, 1]; got {value}")


def item(row: RowMapping) -> Item:
    """The item as stored: its reference and slice keys, without bytes that came with the request."""
    return Item(
        id=row["item_id"],
        media=row["item_media"],
        uri=row["item_uri"],
        text=row["item_text"],
        meta=row["item_meta"],
        prompts=_PROMPTS.validate_python(row["item_prompts"]),
    )


def pre_label(row: RowMapping) -> PreLabel:
    return PreLabel(
        prediction=prediction(row["prediction"]),
        confidence=row["confidence"],
        calibrated=row["calibrated"],
        uncertainty=row["uncertainty"],
        provenance=_PROVENANCE.validate_python(row["provenance"]),
        findings=_FINDINGS.validate_python(row["findings"]),
        more_findings=_MORE_FINDINGS.validate_python(row["more_findings"]),
        unmapped=row["unmapped"],
    )


def prediction(stored: object) -> Prediction:
    return _PREDICTION.validate_python(stored)


def labelled(row: RowMapping) -> Labelled:
    decision = Decision(**{column.key: row[column.key] for column in DECISION_COLUMNS})
    return Labelled(item=item(row), task=row["task"], pre_label=pre_label(row), decision=decision)


def failed(row: RowMapping) -> Failed:
    return Failed(item=item(row), task=row["task"], failure=failure(row))


def failure(row: RowMapping) -> Failure:
    return Failure(code=row["code"], message=row["message"], attempts=row["attempts"])


def review_of_result(row: RowMapping) -> Review | None:
    if row["review_id"] is None:
        return None
    return review(row)


def review(row: RowMapping) -> Review:
    return Review(
        id=row["review_id"],
        task_id=row["review_task_id"],
        attempt=row["review_attempt"],
        reviewer=row["review_reviewer"],
        annotations=ANNOTATIONS.validate_python(row["review_annotations"]),
        seconds=row["review_seconds"],
        submitted_at=row["review_submitted_at"],
    )
