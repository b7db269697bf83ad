"""Names what comes out of a check: the prediction as it may be published, and what was found in it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from models.types import Prediction
from pipelines.sanity.rules import Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One annotation that breaks a rule, why in a sentence, and what was done about it."""

    rule: Rule
    annotation_id: str
    action: Literal["flagged", "changed", "removed"]
    message: str


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
