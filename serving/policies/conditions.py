"""Says what a configuration's pre-labels are made under."""

from __future__ import annotations

from models import weights
from models.types import Task
from pipelines.policy.conditions import Conditions
from pipelines.types import ModelUse
from serving.settings import Settings


def conditions_of(settings: Settings, task: Task) -> Conditions:
    """The conditions that pre-labels of a task have in their provenance, without loading a model.

    Raises:
        ModelError: the weights of a model are missing or changed.
    """
    locks = weights.read_locks(settings.lock_file)
    cards = [settings.cards[model] for model in settings.tasks[task]]
    uses = [
        ModelUse(
            name=card.name,
            version=card.version,
            weights_digest=weights.digest(card, lock=locks.get(weights.key(card))),
            config_digest=card.digest(),
        )
        for card in cards
    ]
    return Conditions(
        chain=tuple(map(str, uses)),
        config_digest=uses[-1].config_digest,
        rules_digest=settings.standards.rules_digest,
        ontology_digest=settings.standards.ontology_digest,
    )
