"""Watches what was accepted without review: estimates, batch certificates, alarms, overlooked errors and drift."""

from pipelines.audit.drift import Drift, What, drifts
from pipelines.audit.estimate import ErrorEstimate, estimated_error
from pipelines.audit.finished_batch import BatchCertificate, batch_certificate
from pipelines.audit.monitor import Claim, Evidence, alarm, proof
from pipelines.audit.period import Period
from pipelines.audit.sensitivity import Sensitivity, corrected_bound, reviewer_sensitivity

__all__ = [
    "BatchCertificate",
    "Claim",
    "Drift",
    "ErrorEstimate",
    "Evidence",
    "Period",
    "Sensitivity",
    "What",
    "alarm",
    "batch_certificate",
    "corrected_bound",
    "drifts",
    "estimated_error",
    "proof",
    "reviewer_sensitivity",
]
