"""Names what comes out of a check: the prediction as it may be published, and what was found in it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal, get_args

from models.types import Prediction
from pipelines.sanity.rules import Rule

Deed = Literal["flagged", "changed", "removed"]  # what became of an annotation
DEEDS: tuple[Deed, ...] = get_args(Deed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One annotation that breaks a rule, why in a sentence, and what was done about it."""

    rule: Rule
    annotation_id: str
    action: Deed
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MoreFindings:
    """Findings of one rule that are counted and no more."""

    rule: Rule
    action: Deed
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A prediction after its repairs, and all findings in the order of the rules.

    Whatever was removed or changed has a finding; what was removed along with its parent has one under the parent's
    rule.
    """

    prediction: Prediction
    findings: tuple[Finding, ...] = ()

    @property
    def counts(self) -> Counter[Rule]:
        """How many findings each rule has."""
        return Counter(finding.rule for finding in self.findings)
