"""Sends everything to humans while a certified policy may not accept."""

from __future__ import annotations

from dataclasses import dataclass

from models.types import Item, Task
from pipelines.policy.certified import CertifiedPolicy
from pipelines.types import Decision, PreLabel


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspendedPolicy:
    """A certified policy whose promise no longer stands, and why. The random sample goes on being drawn."""

    policy: CertifiedPolicy
    why: str

    @property
    def id(self) -> str:
        return self.policy.id

    def decide(self, item: Item, task: Task, pre_label: PreLabel) -> Decision:
        return self.policy.review(item, pre_label, f"the policy is suspended: {self.why}")
