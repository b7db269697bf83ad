"""Looks for what cannot be right in a prediction before it is published; ``check`` is the way in."""

from pipelines.sanity.check import check, rules_of
from pipelines.sanity.finding import DEEDS, Checked, Deed, Finding, MoreFindings
from pipelines.sanity.rules import RULES, Action, Rule, SanityRules

__all__ = [
    "DEEDS",
    "RULES",
    "Action",
    "Checked",
    "Deed",
    "Finding",
    "MoreFindings",
    "Rule",
    "SanityRules",
    "check",
    "rules_of",
]
