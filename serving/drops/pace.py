"""Says how many items of a drop are labelled at a time."""

from __future__ import annotations

from models.types import Task
from serving.settings import Settings

_FEWEST_AT_ONCE = 32
_PASSES_AT_ONCE = 3  # one that runs, one that is prepared, one that is read and stored
_BULK_SHARE = 0.75  # of a model's queue (models/engine.py)


def at_once(settings: Settings, task: Task) -> int:
    """So many items that no model of this process waits for the store, and so few that no queue is ever full."""
    cards = [settings.cards[model] for model in settings.tasks[task]]
    wanted = max(_FEWEST_AT_ONCE, *(_PASSES_AT_ONCE * card.limits.max_items for card in cards))
    return max(1, min(wanted, *(int(_BULK_SHARE * card.limits.max_queue) for card in cards)))


def at_once_of_run(settings: Settings, task: Task) -> int:
    """The same for one of the runs that a service works on at a time, over all replicas of its models."""
    cards = [settings.cards[model] for model in settings.tasks[task]]
    wanted = max(_FEWEST_AT_ONCE, *(_PASSES_AT_ONCE * card.limits.max_items * card.replicas for card in cards))
    room = min(int(_BULK_SHARE * card.limits.max_queue * card.replicas) for card in cards)
    return max(1, min(wanted, room // max(1, settings.server.max_runs)))
