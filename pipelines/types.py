"""Names the values that an item turns into on its way through the flow: pre-labels, decisions, outcomes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from models.types import Item, Prediction, Task
from pipelines.sanity import Finding, MoreFindings

Route = Literal["accept", "audit", "review", "scratch"]

ROUTES: tuple[Route, ...] = ("accept", "audit", "review", "scratch")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUse:
    """One deployed model, down to its bytes; the digests are sha256 in hex. Its text is how chains name it.

    ``embeds`` says whether its predictions come with embeddings, which are no part of the configuration's digest, and
    ``labels`` which its annotations may bear; none where that depends on what it is asked.
    """

    name: str
    version: str
    weights_digest: str
    config_digest: str
    embeds: bool = False
    labels: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}@{self.version}:{self.weights_digest[:12]}.{self.config_digest[:12]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What made a pre-label. The model fields name the last model of a chain.

    ``chain`` names every model that ran, in order, as ``name@version:weights.config`` with 12 digits of both digests.
    ``item_digest`` is the sha256 of the item's bytes as fetched. ``rules_digest`` is the sha256 of the sanity rules,
    ``ontology_digest`` of the ontology; None where there was none.
    """

    model: str
    model_version: str
    weights_digest: str
    config_digest: str
    calibration_id: str | None
    policy_id: str | None
    item_digest: str
    created_at: datetime
    chain: tuple[str, ...] = ()
    rules_digest: str | None = None
    ontology_digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PreLabel:
    """A prediction, how likely it is right as a whole, and how unsure the model is.

    ``confidence`` is P(nothing of the prediction needs a correction); None until a calibration exists, and
    ``calibrated`` says which. ``uncertainty`` is named, each value in [0, 1], 1 = no idea. ``findings`` says what the
    sanity rules found in the prediction and repaired, ``more_findings`` counts those beyond the first hundred,
    ``unmapped`` the labels of the models that mean no class of the ontology.
    """

    prediction: Prediction
    confidence: float | None
    calibrated: bool
    uncertainty: dict[str, float]
    provenance: Provenance
    findings: tuple[Finding, ...] = ()
    more_findings: tuple[MoreFindings, ...] = ()
    unmapped: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What happens to a pre-label, and why.

    accept: taken as it is. audit: taken, and checked by a human without their knowing. review: a human corrects it.
    scratch: a human starts without it. ``queue`` names the review queue; None for accept. ``propensity`` is the
    probability that a human sees the item, ``draw`` the random number in [0, 1) that decided. Of every item, whatever
    its score, the same share is drawn for the random sample that certificates and calibrations stand on:
    ``uniform_rate`` is that share where this item was drawn, else None. ``is_blind`` says that the reviewer must not
    see the pre-label.
    """

    route: Route
    queue: str | None
    reason: str
    policy_id: str
    threshold: float | None
    propensity: float
    draw: float | None
    is_blind: bool = False
    uniform_rate: float | None = None

    @property
    def is_hidden(self) -> bool:
        """Whether whoever labels the item sees nothing of the pre-label: a blind review, or a start from scratch."""
        return self.is_blind or self.route == "scratch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why an item has no pre-label; ``code`` is the error's code (see models/errors.py).

    ``attempts`` says how often it has been tried.
    """

    code: str
    message: str
    attempts: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """The outcome of an item that worked."""

    item: Item
    task: Task
    pre_label: PreLabel
    decision: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The outcome of an item that did not work."""

    item: Item
    task: Task
    failure: Failure


Outcome = Labelled | Failed
