"""Holds what a prediction must meet before it is published: the project's words, the caller's choice, the rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from models.types import Mask, Prediction, Task
from pipelines.ontology import Ontology, apply
from pipelines.sanity import Deed, Finding, MoreFindings, Rule, SanityRules, check, rules_of
from pipelines.tasks import only

MOST_FINDINGS = 100  # of an item, each with its message
_MANY_LABELS, _LONG_MASKS = 100, 5_000  # annotations; characters of their masks' run lengths


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A prediction as it may be published, and what was noticed on the way.

    Attributes:
        findings: what the rules found, up to MOST_FINDINGS.
        more_findings: how many they found beyond these.
        unmapped: the models' labels that mean no class of the ontology, and how many annotations had each.
    """

    prediction: Prediction
    findings: tuple[Finding, ...]
    more_findings: tuple[MoreFindings, ...]
    unmapped: dict[str, int]


def is_large(prediction: Prediction) -> bool:
    """Whether checking a prediction takes more than about a millisecond, up to some 50 for fifty masks of 12 MP."""
    masks = sum(len(one.geometry.counts) for one in prediction.annotations if isinstance(one.geometry, Mask))
    return len(prediction.annotations) > _MANY_LABELS or masks > _LONG_MASKS


@dataclass(frozen=True, kw_only=True)
class Standards:
    """The rules that predictions are checked against, and the ontology whose words they are put into, if any.

    Labels that a caller asks for, and those that policies name, are the ontology's.
    """

    rules: SanityRules = field(default_factory=SanityRules)
    ontology: Ontology | None = None

    def publish(
        self,
        prediction: Prediction,
        *,
        task: Task,
        models: Sequence[str] = (),
        wanted: tuple[str, ...] = (),
        text: str | None = None,
    ) -> Published:
        """Put a prediction into the project's words, keep what is wanted of it, and repair what breaks a rule.

        Args:
            models: those that made the prediction, for aliases of single models.
            wanted: the labels that the caller asks for; none for all.
            text: of a text item, as the spans count it.
        """
        unmapped: Mapping[str, int] = {}
        if self.ontology is not None:
            mapped = apply(prediction, self.ontology, task, models=models)
            prediction, unmapped = mapped.prediction, mapped.unmapped
        prediction = only(prediction, wanted)
        checked = check(prediction, task=task, rules=self.rules, text=text, exclusive=self._exclusive)
        more = Counter[tuple[Rule, Deed]](
            (finding.rule, finding.action) for finding in checked.findings[MOST_FINDINGS:]
        )
        return Published(
            prediction=checked.prediction,
            findings=checked.findings[:MOST_FINDINGS],
            more_findings=tuple(MoreFindings(rule=rule, action=deed, count=n) for (rule, deed), n in more.items()),
            unmapped=dict(unmapped),
        )

    def checked_rules(self, *tasks: Task) -> list[Rule]:
        """The rules that predictions of these tasks are held against."""
        return [rule for rule in rules_of(*tasks) if self.rules.action(rule) != "off" and self._applies(rule)]

    def rules_off(self, *tasks: Task) -> list[Rule]:
        """The rules that would concern predictions of these tasks and are switched off."""
        return [rule for rule in rules_of(*tasks) if self.rules.action(rule) == "off"]

    def _applies(self, rule: Rule) -> bool:
        return rule != "exclusive_labels" or bool(self._exclusive)

    @cached_property
    def rules_digest(self) -> str:
        return self.rules.digest()

    @cached_property
    def ontology_digest(self) -> str | None:
        return None if self.ontology is None else self.ontology.digest()

    @cached_property
    def _exclusive(self) -> tuple[dict[str, str], ...]:
        return () if self.ontology is None else self.ontology.exclusions()
