"""Names a stored policy as it stands."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.calibration import Calibration
from pipelines.policy.certified import CertifiedPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A policy, what it scores with, and why it may not accept, if it may not."""

    policy: CertifiedPolicy
    calibration: Calibration | None
    suspended: str | None
