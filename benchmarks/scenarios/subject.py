"""Finds what a benchmark shall measure in a configuration, and brings it up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from benchmarks.scenarios import endpoint, engines, inputs
from benchmarks.scenarios.inputs import Inputs
from benchmarks.scenarios.options import Options
from benchmarks.scenarios.target import Settings, Target
from models.card import ModelCard
from models.errors import ConfigError
from models.types import Task

_SERVICE_AT_ONCE = 64
_LEAST_WARM_UP = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A task's models, or one model alone, in this process or behind HTTP."""

    settings: Settings
    task: Task
    cards: tuple[ModelCard, ...]
    options: Options

    @property
    def is_service(self) -> bool:
        return self.options.target == "service" or self.options.address is not None

    @property
    def where(self) -> str:
        if self.options.address:
            return f"service at {self.options.address}"
        return f"{self.options.target}{', random weights' if self.options.random_weights else ''}"

    @property
    def threads(self) -> int | None:
        """Compute threads of this process; a service has its own."""
        if self.is_service:
            return None
        return self.options.threads or max(1, *(int(card.num_cpus) for card in self.cards), 1)

    @property
    def warm_up_items(self) -> int:
        """One full batch, so that its shape is warm too, unless a repetition never fills one."""
        full = max(_LEAST_WARM_UP, *(card.limits.max_items for card in self.cards))
        return self.options.warm_up or min(full, self.options.items or full)

    def inputs(self) -> Inputs:
        """The items to send: a folder's, generated ones for random weights, or the sample drop's."""
        seed, card = self.options.seed, self.cards[-1]
        if self.options.drop:
            made = inputs.from_folder(self.options.drop, self.task, what=f"files of {self.options.drop}", seed=seed)
        elif self.options.random_weights:
            made = inputs.generated(card.media, seed=seed)
        else:
            made = inputs.sample(self.task, seed=seed)
        if card.adapter == "segment_anything" and len(self.cards) == 1:
            made.ask_for_middles()
        return made

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Mapping[int | None, Target]]:
        """The targets, up and ready, by batch limit; None is the key of one as it is configured."""
        async with AsyncExitStack() as stack:
            limits = self.options.batch_limit or (None,)
            yield {limit: await stack.enter_async_context(self._target(limit)) for limit in limits}

    @asynccontextmanager
    async def _target(self, batch_limit: int | None) -> AsyncIterator[Target]:
        at_once = self.options.at_once
        if self.options.address:
            calls, key = at_once or _SERVICE_AT_ONCE, self.options.api_key
            async with endpoint.at_address(self.options.address, self.task, at_once=calls, api_key=key) as target:
                yield target
        elif self.is_service:
            async with endpoint.started(self.task, self.settings, at_once=at_once or _SERVICE_AT_ONCE) as target:
                yield target
        else:
            cards = [_limited(card, batch_limit) for card in self.cards]
            async with engines.running(cards, self.settings, random_weights=self.options.random_weights) as target:
                target.at_once = min(at_once or target.at_once, target.at_once)
                yield target


def subject_of(options: Options, settings: Settings) -> Subject:
    """What the options ask for.

    Raises:
        ConfigError: they name nothing that the configuration has, or go against each other.
    """
    task, cards = _named(options, settings)
    subject = Subject(settings=settings, task=task, cards=cards, options=options)
    if subject.is_service:
        for given, flag in {options.model: "--model", options.batch_limit: "--batch-limit"}.items():
            if given:
                raise ConfigError(f"{flag} is for the engine; a service runs whole tasks as it is configured")
        if options.random_weights or options.threads:
            raise ConfigError("--random-weights and --threads are for the engine; a service loads real weights itself")
    if options.find_max_rate and not options.deadline_s:
        raise ConfigError("--find-max-rate looks for a rate that meets a deadline; give one with --deadline-s")
    return subject


def _named(options: Options, settings: Settings) -> tuple[Task, tuple[ModelCard, ...]]:
    if (options.task is None) == (options.model is None):
        tasks, models = ", ".join(settings.tasks), ", ".join(settings.cards)
        raise ConfigError(f"give either --task (one of: {tasks}) or --model (one of: {models})")
    if options.model is not None:
        if options.model not in settings.cards:
            raise ConfigError(f"unknown model '{options.model}'; configured: {', '.join(settings.cards)}")
        card = settings.cards[options.model]
        return card.task, (card,)
    for task, chain in settings.tasks.items():
        if task == options.task:
            return task, tuple(settings.cards[name] for name in chain)
    raise ConfigError(f"task '{options.task}' is not configured; configured: {', '.join(settings.tasks)}")


def _limited(card: ModelCard, batch_limit: int | None) -> ModelCard:
    if batch_limit is None:
        return card
    return replace(card, limits=replace(card.limits, max_items=batch_limit))
