"""Shows policies as JSON, for machines."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from pipelines.calibration import Calibration
from pipelines.policy.audited import AuditReport
from pipelines.policy.certified import POLICY, CertifiedPolicy
from pipelines.policy.fit import Fitted
from pipelines.store.policies import StoredPolicy, evidence_of


def fitted_view(fitted: Fitted) -> dict[str, Any]:
    return policy_view(fitted.policy) | {"evidence": evidence_of(fitted)}


def stored_view(one: StoredPolicy) -> dict[str, Any]:
    """A policy with its state, what it stands on, how its scores were calibrated, and its history."""
    return policy_view(one.policy) | {
        "calibration": None if one.calibration is None else calibration_view(one.calibration),
        "state": one.state,
        "created_at": one.created_at,
        "evidence": one.evidence,
        "events": [asdict(event) for event in one.events],
    }


def calibration_view(calibration: Calibration) -> dict[str, Any]:
    """How each label's confidence comes about, and the item's: method, number of answers, and date."""
    labels, item = calibration.labels, calibration.item
    described = [] if labels is None else [labels.describe(), *map(labels.describe, sorted(labels.own))]
    return {
        "id": calibration.id,
        "labels": [asdict(one) for one in described],
        "item": None
        if item is None
        else {"method": item.method, "n": item.n, "positives": item.positives, "fitted_at": item.fitted_at},
    }


def policy_view(policy: CertifiedPolicy) -> dict[str, Any]:
    """A policy without its seed, which would tell an audit beforehand. A threshold that accepts nothing is null."""
    written = json.loads(POLICY.dump_json(policy))
    del written["seed"]
    for name, certificate in policy.certificates.items():
        shown = written["certificates"][name]
        shown |= {"is_certified": certificate.is_certified, "summary": certificate.summary()}
        if not certificate.is_certified:
            shown["threshold"] = None
    return {"id": policy.id} | written


def report_view(report: AuditReport) -> dict[str, Any]:
    """How a policy's promise does, with its sentence."""
    remaining = report.remaining
    return asdict(report) | {
        "summary": report.verdict.summary(),
        "remaining": asdict(remaining) | {"residual_error_bound": remaining.residual_error_bound},
    }
