"""Counts what the rules found in pre-labels, and the labels that their ontology has no class for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipelines.sanity import DEEDS, RULES, Deed, Finding, MoreFindings, Rule

_MOST_NAMED = 5  # labels in a sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingCount:
    """How many annotations broke a rule and were flagged, changed or removed for it, and in how many items."""

    rule: Rule
    action: Deed
    findings: int
    items: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnmappedCount:
    """How many annotations had a label that means no class of the ontology, and in how many items."""

    label: str
    annotations: int
    items: int


class Remarked(Protocol):
    """A pre-label, or a result that was made of one."""

    @property
    def findings(self) -> Sequence[Finding]: ...

    @property
    def more_findings(self) -> Sequence[MoreFindings]: ...

    @property
    def unmapped(self) -> Mapping[str, int]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Remarks:
    """What there is to say of many pre-labels: findings in the order of the rules, the most frequent labels first."""

    findings: tuple[FindingCount, ...] = ()
    unmapped: tuple[UnmappedCount, ...] = ()

    @staticmethod
    def of(findings: Iterable[FindingCount], unmapped: Iterable[UnmappedCount]) -> Remarks:
        """The remarks in their order."""
        return Remarks(
            findings=tuple(sorted(findings, key=lambda one: (RULES.index(one.rule), DEEDS.index(one.action)))),
            unmapped=tuple(sorted(unmapped, key=lambda one: (-one.annotations, one.label))),
        )

    def by_rule(self, rules: Iterable[Rule] = ()) -> dict[str, tuple[int, int, int]]:
        """How many annotations each rule flagged, changed and removed; of these rules also where there are none."""
        counts = {(one.rule, one.action): one.findings for one in self.findings}
        named = {*rules, *(one.rule for one in self.findings)}
        return {
            rule: (counts.get((rule, "flagged"), 0), counts.get((rule, "changed"), 0), counts.get((rule, "removed"), 0))
            for rule in RULES
            if rule in named
        }

    def by_label(self) -> dict[str, int]:
        """How many annotations had each label that means no class."""
        return {one.label: one.annotations for one in self.unmapped}


def remarks_on(remarked: Iterable[Remarked]) -> Remarks:
    """What there is to say of these pre-labels, which are read once."""
    found, found_in = Counter[tuple[Rule, Deed]](), Counter[tuple[Rule, Deed]]()
    unmapped, unmapped_in = Counter[str](), Counter[str]()
    for one in remarked:
        own = _findings(one)
        found.update(own)
        found_in.update(own.keys())
        unmapped.update(one.unmapped)
        unmapped_in.update(one.unmapped.keys())
    return Remarks.of(
        (
            FindingCount(rule=rule, action=deed, findings=n, items=found_in[rule, deed])
            for (rule, deed), n in found.items()
        ),
        (UnmappedCount(label=label, annotations=n, items=unmapped_in[label]) for label, n in unmapped.items()),
    )


def sentences(remarks: Remarks) -> Iterator[str]:
    """The remarks in words: a line for what the rules found, and one for unmapped labels, where there are any."""
    if remarks.findings:
        parts = (f"{one.rule} {one.action} {one.findings:,}" for one in remarks.findings)
        yield f"sanity rules: {', '.join(parts)}"
    if remarks.unmapped:
        parts = [f"{one.label!r} {one.annotations:,}" for one in remarks.unmapped[:_MOST_NAMED]]
        more = [f"and {len(remarks.unmapped) - _MOST_NAMED:,} more"] if len(remarks.unmapped) > _MOST_NAMED else []
        yield f"labels without a class: {', '.join(parts + more)}"


def _findings(one: Remarked) -> Counter[tuple[Rule, Deed]]:
    counts = Counter[tuple[Rule, Deed]]((finding.rule, finding.action) for finding in one.findings)
    for more in one.more_findings:
        counts[more.rule, more.action] += more.count
    return counts
