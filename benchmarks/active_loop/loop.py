"""Goes through the rounds of a loop by the product's own parts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.active_loop.annotators import Annotators
from benchmarks.active_loop.labelling import Labelling, labelling
from benchmarks.active_loop.members import drawn_ids, lessons_of
from benchmarks.active_loop.rounds import Loop, Plan, Round
from benchmarks.active_loop.subject import Lesson, Subject
from benchmarks.active_loop.truth import ALL, Accepted, accepted, quality
from pipelines.policy.fit import Fit, Fitted, fit
from pipelines.policy.in_force import InForce
from pipelines.policy.terms import ALL as ALL_SLICES
from pipelines.policy.thresholds import ThresholdPolicy
from pipelines.review import ReviewQueue
from pipelines.sample import SampleRequest, draw
from pipelines.sampling import Strategy
from pipelines.store.evidence import EvidenceReader
from pipelines.store.policies import Policies
from pipelines.store.store import Store
from pipelines.types import Labelled
from pipelines.watch import Watch

_ACTOR = "the loop"
_TO_LABEL = "to label"  # the queue of what is drawn and chosen
# Binds nothing; but under a bound "random" counts what it chooses as chosen, not as part of the random sample.
_NO_BOUND = 1e12
_DROP, _HELD_OUT = range(2)  # streams of random numbers


class Rounds:
    """One loop over a store that is empty at its start.

    Every round a new drop comes. The newest model drafts it, a sample is drawn and chosen and labelled, a policy is
    certified on the random sample of all rounds, whose items the newest model labels again, and the drop is routed by
    it. Then the model is trained on, with what was chosen in all rounds. As drops are new, no model was trained on what
    it is certified on or what it routes.
    """

    def __init__(
        self, subject: Subject, plan: Plan, store: Store, folder: Path, *, strategy: Strategy, seed: int
    ) -> None:
        self._subject, self._plan, self._seed = subject, plan, seed
        self._strategy: Strategy = strategy
        self._store, self._folder = store, folder
        self._policies, self._reviews = Policies(store), ReviewQueue(store)
        self._watch = Watch(store)
        self._in_force = InForce(
            self._policies, configured={subject.task: _drafts(subject)}, terms={subject.task: subject.terms}
        )
        self._held_out = subject.drop(plan.held_out, "held-out", self._rng(_HELD_OUT))
        self._examples = {example.id: example for example in self._held_out}
        self._annotators = Annotators(subject=subject, examples=self._examples, error_rate=plan.error_rate, seed=seed)
        self._chosen = 0

    async def run(self, progress: Callable[[Round], None]) -> Loop:
        """All rounds, and the quality of the model that they end with."""
        weights, rounds, lessons = self._subject.base, list[Round](), list[Lesson]()
        for number in range(1, self._plan.rounds + 1):
            async with self._model(weights, number) as model:
                rounds.append(await self._round(number, model, lessons=len(lessons)))
            progress(rounds[-1])
            lessons = await self._lessons()
            newer = self._folder / f"model-{number + 1}"
            await asyncio.to_thread(self._subject.learn, weights, newer, lessons, self._seed)
            weights = newer
        async with self._model(weights, self._plan.rounds + 1) as model:
            said = await model.try_out("held-out", self._held_out)
        return Loop(
            task=self._subject.task,
            strategy=self._strategy,
            seed=self._seed,
            rounds=tuple(rounds),
            chosen_labels=self._chosen,
            last_quality=quality(said, self._examples, self._subject),
        )

    def _model(self, weights: Path, version: int):
        return labelling(
            self._subject, self._store, self._in_force, weights=weights, version=version, folder=self._folder
        )

    async def _round(self, number: int, model: Labelling, *, lessons: int) -> Round:
        started, chosen_before = time.monotonic(), self._chosen
        by_older = await self._label_sample_again(number, model)
        await self._retire(model)
        drop = self._subject.drop(self._plan.drop, f"drop-{number}", self._rng(_DROP, number))
        self._examples |= {example.id: example for example in drop}
        await model.label(f"draft-{number}", drop)
        await self._label_sample(number)
        random_labels = self._annotators.answered - self._chosen
        fitted = await self._certify(model)
        routed = await model.label(f"routed-{number}", drop)
        await self._annotators.answer_blind(self._reviews, self._subject.terms.queue, among={one.id for one in drop})
        suspended = await self._watch.look()
        held_out = await model.try_out("held-out", self._held_out)
        certificate = fitted.policy.certificates[ALL_SLICES]
        return Round(
            number=number,
            model=str(model.use),
            chosen_labels=chosen_before,
            random_labels=random_labels,
            wrong_answers=self._annotators.wrong,
            lessons=lessons,
            quality=quality(held_out, self._examples, self._subject),
            certified_on=certificate.n,
            calibrated_on=len(fitted.calibrated_on),
            threshold=certificate.threshold if certificate.is_certified else None,
            bound=certificate.bound,
            expected=certificate.coverage,
            drop=self._accepted(routed),
            fresh=self._accepted(held_out),
            by_eye=self._accepted_by_eye(routed),
            accepted_by_older=by_older[ALL].accepted if by_older else 0,
            suspended=bool(suspended),
            seconds=time.monotonic() - started,
        )

    async def _label_sample_again(self, number: int, model: Labelling) -> dict[str, Accepted]:
        """Let a new model say what it thinks of the random sample, while the older one's policy is still in force."""
        again = [self._examples[item_id] for item_id in await drawn_ids(self._store)]
        return self._accepted(await model.label(f"again-{number}", again)) if again else {}

    async def _retire(self, model: Labelling) -> None:
        """Take the older model's policy out of force.

        It would send all of the drop to review, and of what waits for a review no strategy chooses anything.
        """
        for standing in (await self._policies.in_force()).values():
            await self._policies.retire(standing.policy.id, actor=_ACTOR, reason=f"the model is {model.use} now")
        await self._in_force.look()

    async def _label_sample(self, number: int) -> None:
        request = SampleRequest(
            budget=self._plan.budget,
            queue=_TO_LABEL,
            task=self._subject.task,
            run_id=f"draft-{number}",
            strategy=self._strategy,
            explore=self._plan.explore,
            most_cost=_NO_BOUND,
            seed=1_000 * self._seed + number,
        )
        sample = await draw(self._store, request, queues={})
        self._chosen += sum(not member.is_uniform for member in sample.members)
        await self._annotators.empty(self._reviews, _TO_LABEL)

    async def _certify(self, model: Labelling) -> Fitted:
        task, conditions = self._subject.task, model.conditions
        evidence = await EvidenceReader(self._store).read(task, conditions)
        number = await self._policies.next_round(task)
        this = Fit(
            task=task,
            terms=self._subject.terms,
            conditions=conditions,
            round=number,
            seed=f"{self._seed} {number}",
            now=datetime.now(UTC),
            rng_seed=self._seed,
        )
        fitted = await asyncio.to_thread(fit, evidence, this)
        await self._policies.add(fitted)
        await self._policies.activate(fitted.policy.id, actor=_ACTOR)
        await self._in_force.look()
        return fitted

    async def _lessons(self) -> list[Lesson]:
        said = await lessons_of(self._store)
        return [Lesson(content=self._examples[item_id].content, answer=answer) for item_id, answer in said.items()]

    def _accepted(self, outcomes: Sequence[Labelled]) -> dict[str, Accepted]:
        return accepted(outcomes, self._examples, self._subject)

    def _accepted_by_eye(self, outcomes: Sequence[Labelled]) -> dict[str, Accepted]:
        by_eye, task = self._subject.by_eye, self._subject.task
        return accepted(
            outcomes,
            self._examples,
            self._subject,
            accepts=lambda one: by_eye.decide(one.item, task, one.pre_label).route == "accept",
        )

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, *stream])


def _drafts(subject: Subject) -> ThresholdPolicy:
    """Queues nothing, so that what people see is what the sample has drawn or chosen; nobody uses what it takes."""
    return ThresholdPolicy(queue=subject.terms.queue, accept_score=0.0, accept_nothing_found=0.0)
