"""Says what a configuration's pre-labels are made under."""

from __future__ import annotations

from models import weights
from models.types import Task
from pipelines.policy.conditions import Conditions
from serving.settings import Settings


def conditions_of(settings: Settings, task: Task) -> Conditions:
    """The conditions that pre-labels of a task have in their provenance, without loading a model.

    Raises:
        ModelError: the weights of a model are missing or changed.
    """
    locks = weights.read_locks(settings.lock_file)
    cards = [settings.cards[model] for model in settings.tasks[task]]
    digests = [weights.digest(card, lock=locks.get(weights.key(card))) for card in cards]
    named = (f"{card.name}@{card.version}:{digest[:12]}" for card, digest in zip(cards, digests, strict=True))
    return Conditions(
        chain=tuple(named),
        config_digest=cards[-1].digest(),
        rules_digest=settings.standards.rules_digest,
        ontology_digest=settings.standards.ontology_digest,
    )
