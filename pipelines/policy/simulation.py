"""Says what a policy would have done with past items, and how often it would have been wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from models.types import Item, Task
from pipelines.bounds import upper_bound
from pipelines.calibration import Calibration
from pipelines.corrections.acceptable import Acceptable, loss
from pipelines.policy.evidence import Evidence, Judged
from pipelines.policy.policy import Policy
from pipelines.policy.scoring import scored_again
from pipelines.types import Decision, PreLabel, Route


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What a policy would have done.

    Attributes:
        routes: how many items of the pool would have gone where.
        judged: how many random items with a human's answer it was held against, of which it would have accepted
            ``accepted``, ``wrong`` of them with something to correct.
        dataset_error, accepted_error: upper bounds at ``delta`` (Clopper & Pearson 1934), each on its own; 1.0 without
            any answer. They hold for a policy that was not fitted to these answers.
    """

    routes: dict[Route, int]
    judged: int
    accepted: int
    wrong: int
    dataset_error: float
    accepted_error: float
    delta: float

    @property
    def coverage(self) -> float:
        """The share of the pool that would have been accepted, audits included."""
        items = sum(self.routes.values())
        return (self.routes.get("accept", 0) + self.routes.get("audit", 0)) / items if items else 0.0

    def summary(self) -> str:
        return (
            f"had this policy been active: {self.coverage:.1%} of {sum(self.routes.values())} items accepted; of "
            f"{self.judged} random items that people answered {self.wrong} would have been accepted wrongly, so at "
            f"most {self.dataset_error:.1%} of all items and {self.accepted_error:.1%} of the accepted are wrong, each "
            f"with {1.0 - self.delta:.0%} confidence"
        )


def simulate(
    policy: Policy,
    evidence: Evidence,
    *,
    task: Task,
    calibration: Calibration | None,
    acceptable: Acceptable,
    delta: float,
) -> Simulation:
    """Decide again about past items, as if they came now."""
    routes = Counter[Route](
        _decide(policy, task, item, pre_label, calibration).route for item, pre_label in evidence.pool
    )
    accepted = [one for one in evidence.judged if _accepts(policy, task, one, calibration)]
    wrong = sum(_is_wrong(one, task, acceptable) for one in accepted)
    return Simulation(
        routes=dict(routes),
        judged=len(evidence.judged),
        accepted=len(accepted),
        wrong=wrong,
        dataset_error=upper_bound(wrong, len(evidence.judged), delta=delta) if evidence.judged else 1.0,
        accepted_error=upper_bound(wrong, len(accepted), delta=delta) if accepted else 1.0,
        delta=delta,
    )


def _decide(policy: Policy, task: Task, item: Item, pre_label: PreLabel, calibration: Calibration | None) -> Decision:
    return policy.decide(item, task, scored_again(pre_label, calibration))


def _accepts(policy: Policy, task: Task, one: Judged, calibration: Calibration | None) -> bool:
    return _decide(policy, task, one.item, one.pre_label, calibration).route in ("accept", "audit")


def _is_wrong(one: Judged, task: Task, acceptable: Acceptable) -> bool:
    return one.answer is None or loss(task, one.pre_label.prediction.annotations, one.answer, acceptable) > 0.0


def fresh(judged: Sequence[Judged], fitted_at: datetime, *, used: Collection[int]) -> list[Judged]:
    """Those that a policy was not fitted to: they were answered after its fit.

    A pre-label that the fit did not know is no sign of that: once a drop is labelled again, the very answers of the fit
    are about new pre-labels. Where nobody could answer, the pre-label is all that there is to go by.

    Args:
        used: the pre-labels that the policy stands on.
    """
    return [one for one in judged if _is_fresh(one, fitted_at, used)]


def _is_fresh(one: Judged, fitted_at: datetime, used: Collection[int]) -> bool:
    if one.answered_at is None:
        return one.prelabel_id not in used and one.answered_for not in used
    return one.answered_at > fitted_at
