"""Decides what a human must look at: by fixed thresholds, or under a certificate."""

from pipelines.policy.policy import Policy
from pipelines.policy.thresholds import ThresholdPolicy

__all__ = ["Policy", "ThresholdPolicy"]
