"""Answers review queues with the truth, and now and then with an error."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from benchmarks.active_loop.subject import Example, Subject
from models.types import Annotation
from pipelines.corrections.planting import planted
from pipelines.review import ReviewQueue, ReviewTask

_NAMES = ("ann", "ben")
_AT_ONCE = 50
_LEASE_S = 86_400.0


@dataclass(slots=True, kw_only=True)
class Annotators:
    """Two people who claim tasks in turn.

    Attributes:
        examples: by the ids of their items, what is right.
        error_rate: the share of answers that have one error in them, of the kinds that reviewers are tested with:
            something is missing, wrongly named, misplaced or too much.
            seed: of the errors; an item gets the same answer whenever it is asked about.
        answered, wrong: how many answers they have given, and how many of these with an error.
    """

    subject: Subject
    examples: Mapping[str, Example]
    error_rate: float
    seed: int
    answered: int = field(default=0, init=False)
    wrong: int = field(default=0, init=False)

    def answer(self, example: Example) -> tuple[Annotation, ...]:
        """What one of them says. Where nothing is there, nothing can be got wrong."""
        rng = np.random.default_rng([self.seed, zlib.crc32(example.id.encode())])
        if rng.random() >= self.error_rate:
            return example.truth
        made = planted(
            self.subject.task,
            example.truth,
            example.truth,
            acceptable=self.subject.acceptable,
            labels=self.subject.labels,
            rng=rng,
            size_hw=example.size_hw,
        )
        if made is None:
            return example.truth
        self.wrong += 1
        return made.annotations

    async def empty(self, reviews: ReviewQueue, queue: str) -> int:
        """Answer all that waits in a queue; how many that were."""
        done, turn = 0, 0
        while tasks := await reviews.claim(queue, reviewer=_NAMES[turn % 2], n=_AT_ONCE, lease_s=_LEASE_S):
            for task in tasks:
                await self._submit(reviews, task, _NAMES[turn % 2])
            done, turn = done + len(tasks), turn + 1
        return done

    async def answer_blind(self, reviews: ReviewQueue, queue: str, *, among: Collection[str]) -> int:
        """Answer the blind tasks about some items in a queue; how many that were.

        The others, which are claimed with them, are left to people whom nobody simulates.
        """
        done = 0
        while tasks := await reviews.claim(queue, reviewer=_NAMES[0], n=1_000, lease_s=_LEASE_S):
            for task in tasks:
                if task.is_blind and task.item.id in among:
                    await self._submit(reviews, task, _NAMES[0])
                    done += 1
        return done

    async def _submit(self, reviews: ReviewQueue, task: ReviewTask, reviewer: str) -> None:
        said = self.answer(self.examples[task.item.id])
        await reviews.submit(task.id, task.attempt, reviewer=reviewer, annotations=said)
        self.answered += 1
