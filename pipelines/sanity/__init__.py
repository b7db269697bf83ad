"""Looks for what cannot be right in a prediction before it is published; ``check`` is the way in."""

from pipelines.sanity.check import check
from pipelines.sanity.finding import Checked, Finding
from pipelines.sanity.rules import RULES, Action, Rule, SanityRules

__all__ = ["RULES", "Action", "Checked", "Finding", "Rule", "SanityRules", "check"]
