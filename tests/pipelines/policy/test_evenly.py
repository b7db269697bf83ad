"""Checks that what is used of a random sample stands for all of it, whichever queue is slow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipelines.policy.evenly import Member, evenly
from pipelines.policy.evidence import Judged
from tests.pipelines.policy.builders import some_evidence


def some_members(n: int, *, queue: str, answered: int, seen_before: bool = False, seed: int = 1) -> list[Member]:
    judged = some_evidence(n, rng=np.random.default_rng(seed), pool=1).judged
    named = [replace(one, item=replace(one.item, id=f"{queue} {one.item.id}")) for one in judged]
    return [
        Member(
            judged=one if place < answered else None,
            unanswered=replace(one, answer=None),
            queue=queue,
            is_in_random_order=not seen_before and place < answered,
        )
        for place, one in enumerate(named)
    ]


def of(used: list[Judged], queue: str) -> list[Judged]:
    return [one for one in used if one.item.id.startswith(queue)]


def test_all_is_used_when_nothing_waits() -> None:
    members = some_members(30, queue="a", answered=30) + some_members(25, queue="b", answered=25, seen_before=True)

    assert len(evenly(members)) == 55


def test_a_slow_queue_slows_all_others_down() -> None:
    members = [
        *some_members(100, queue="quick", answered=100),
        *some_members(40, queue="slow", answered=10),
        *some_members(60, queue="seen", answered=60, seen_before=True),
    ]

    used = evenly(members)

    assert (len(of(used, "quick")), len(of(used, "slow")), len(of(used, "seen"))) == (25, 10, 15)


def test_what_waits_in_a_small_queue_counts_as_wrong() -> None:
    members = some_members(100, queue="large", answered=100) + some_members(5, queue="rare", answered=2)

    used = evenly(members)

    assert len(of(used, "large")) == 100
    assert [one.answer is None for one in of(used, "rare")].count(True) == 3


def test_the_same_are_used_every_time_and_in_whatever_order_they_come() -> None:
    members = some_members(100, queue="a", answered=60) + some_members(50, queue="b", answered=10)

    forth, back = evenly(members), evenly(members[::-1])

    assert {one.item.id for one in forth} == {one.item.id for one in back}
