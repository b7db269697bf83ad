"""Has the models of a configuration measured, and gives their cards the limits and GPU shares that came of it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from models import profile_file, weights
from models.accelerator import accelerator_of
from models.card import ModelCard
from models.errors import ConfigError, ModelError, PrelabelError
from models.profile import MARGIN, gpu_share, growth
from models.profile_file import Profile
from pipelines.profiling import Assignment, measured_apart
from serving.demo import DROP
from serving.settings import Settings

logger = logging.getLogger(__name__)

_SHARE = 0.25
Outcome = Profile | PrelabelError


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a model may take: memory, as a share of its device's or (``gib``) as such, and time to be measured."""

    memory_share: float
    gib: float | None
    seconds: float

    @classmethod
    def of(cls, *, memory_share: float | None, gib: float | None, seconds: float) -> Budget:
        """The budget that was asked for.

        Raises:
            ConfigError: both a share and a number of GiB were.
        """
        if memory_share is not None and gib is not None:
            raise ConfigError(f"got both --memory-share {memory_share:g} and --budget-gib {gib:g}; give one of them")
        return cls(memory_share=_SHARE if memory_share is None else memory_share, gib=gib, seconds=seconds)


def chosen(settings: Settings, names: Sequence[str]) -> list[ModelCard]:
    """The cards of some models, or of all where none is named.

    Raises:
        ConfigError: the configuration has no such model.
    """
    if unknown := sorted(set(names) - settings.cards.keys()):
        raise ConfigError(f"unknown models {', '.join(unknown)}; configured: {', '.join(settings.cards)}")
    return [card for card in settings.models if not names or card.name in names]


def measured(settings: Settings, card: ModelCard, *, drop: Path | None, budget: Budget) -> Outcome:
    """What came of measuring a model in a process of its own; its failure is no other model's."""
    assignment = Assignment(
        card=card,
        lock_file=settings.lock_file,
        folder=drop or DROP / card.task,
        media=settings.media,
        memory_share=budget.memory_share,
        budget_bytes=None if budget.gib is None else int(budget.gib * 2**30),
        seconds=budget.seconds,
    )
    try:
        return measured_apart(assignment)
    except PrelabelError as err:
        return err


def written(settings: Settings, outcomes: Mapping[str, Outcome]) -> list[str]:
    """Keep what was measured beside the configuration; returns what to tell about it.

    Raises:
        ConfigError: the file cannot be written.
    """
    found = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, Profile)}
    if not found:
        return ["nothing was measured, so nothing is written"]
    profile_file.write({weights.key(settings.cards[name]): one for name, one in found.items()}, settings.profile_file)
    wins = "itself, which wins; remove that to use what was measured"
    return [
        f"written to {settings.profile_file}; it is used from the next start",
        *(
            f"{name}: the configuration states {', '.join(sorted(own))} {wins}"
            for name, one in found.items()
            if (own := settings.stated(settings.cards[name]) & _measured_keys(one))
        ),
    ]


def _measured_keys(profile: Profile) -> set[str]:
    return {"limits.max_items", "limits.max_cost"} | ({"num_gpus"} if profile.num_gpus is not None else set())


def profiled(settings: Settings) -> Settings:
    """The settings with what was measured in every card that states nothing else; a stale profile is passed over.

    Raises:
        ConfigError: the file of profiles cannot be used.
    """
    if not (profiles := profile_file.read(settings.profile_file)):
        return settings
    cards = list[ModelCard]()
    for card in settings.models:
        profile = profiles.get(weights.key(card))
        if profile and (problem := staleness(card, profile, settings.lock_file)):
            logger.warning("the profile of model '%s' is not used: %s; %s", card.name, problem, advice(card))
            profile = None
        cards.append(card if profile is None else taken_over(card, profile, stated=settings.stated(card)))
    return settings.model_copy(update={"models": tuple(cards)})


def taken_over(card: ModelCard, profile: Profile, *, stated: Collection[str]) -> ModelCard:
    """The card with the measured limits and share of a GPU, but for what the configuration itself states."""
    limits = card.limits
    if "limits.max_items" not in stated:
        limits = replace(limits, max_items=profile.max_items)
    if "limits.max_cost" not in stated:
        limits = replace(limits, max_cost=profile.max_cost)
    if "num_gpus" in stated or profile.num_gpus is None:
        return replace(card, limits=limits)
    return replace(card, limits=limits, num_gpus=_share(profile, max_cost=limits.max_cost))


def _share(profile: Profile, *, max_cost: float) -> float:
    """The measured share, and more where the configuration states larger batches than were recommended."""
    beyond_bytes = growth(profile.batches) * max(0.0, max_cost - profile.max_cost) / MARGIN
    needed_bytes = (profile.num_gpus or 0.0) * profile.device_bytes
    if not beyond_bytes:
        return profile.num_gpus or 0.0
    return gpu_share(needed_bytes + beyond_bytes, device_bytes=profile.device_bytes)


def staleness(card: ModelCard, profile: Profile, lock_file: Path) -> str | None:
    """Why a profile is not used; None if it is."""
    try:
        return profile_file.staleness(
            profile,
            device=accelerator_of(card).name,
            weights_digest=weights.digest(card, lock=weights.read_locks(lock_file).get(weights.key(card))),
            config_digest=card.digest(),
        )
    except ModelError as err:
        return err.message


def advice(card: ModelCard) -> str:
    """What mends it."""
    return f"run 'prelabel models profile --model {card.name} --write'"


def gpu_shortage(cards: Collection[ModelCard], *, gpus: float) -> str | None:
    """What to say when the cards reserve more GPUs than there are, for which Ray would wait for ever."""
    shares = {card.name: card.num_gpus * card.replicas for card in cards if card.num_gpus}
    reserved = sum(shares.values())
    if reserved <= gpus + 1e-6:
        return None
    each = ", ".join(f"{name} {share:.4g}" for name, share in shares.items())
    return (
        f"the models reserve {reserved:.4g} GPUs ({each}), and there are {gpus:g}; lower num_gpus or replicas, "
        "or measure what they need with 'prelabel models profile --write'"
    )
