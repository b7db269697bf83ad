"""Tells people at a terminal what a policy promises, does and would have done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rich.panel import Panel

from pipelines.audit import Drift
from pipelines.policy.audited import AuditReport
from pipelines.policy.fit import Fitted
from pipelines.policy.simulation import Simulation
from pipelines.policy.terms import ALL
from pipelines.policy.trace import Recount
from pipelines.store.policies import StoredPolicy, evidence_of
from serving.terminal import notes, print_rows, screen

_WHOSE = {"dataset_error": "all", "accepted_error": "accepted"}  # items are wrong at most so often


def tell_fitted(fitted: Fitted) -> None:
    policy = fitted.policy
    lines = [f"{_of(name)}{one.summary()}" for name, one in policy.certificates.items()]
    lines += [_stands_on(evidence_of(fitted))]
    if fitted.calibration is None:
        lines.append(f"Not calibrated, the models' own scores decide: {fitted.uncalibrated}")
    left = policy.terms.delta / 2**policy.round
    lines.append(f"This fit has spent its part of delta; {left:.3g} of {policy.terms.delta:g} is left for later ones.")
    screen.print(
        Panel("\n".join(lines), title=f"{policy.id} · {policy.task} · round {policy.round}", title_align="left")
    )
    if any(one.is_certified for one in policy.certificates.values()):
        notes.print(f"put it in force: [bold]prelabel policy activate {policy.id}[/]")


def tell_policies(stored: Sequence[StoredPolicy]) -> None:
    print_rows([_line(one) for one in stored])


def tell_stored(one: StoredPolicy) -> None:
    policy = one.policy
    lines = [f"{_of(name)}{certificate.summary()}" for name, certificate in policy.certificates.items()]
    lines += [_stands_on(one.evidence), f"Models: {' → '.join(policy.conditions.chain)}"]
    if one.calibration is not None:
        described = one.calibration.describe()
        lines.append(f"Calibration {one.calibration.id}: {described.sentence if described else 'of items alone'}")
    title = f"{policy.id} · {policy.task} · round {policy.round} · {one.state}"
    screen.print(Panel("\n".join(lines), title=title, title_align="left"))
    if one.events:
        print_rows(
            [{"at": f"{e.at:%Y-%m-%d %H:%M} UTC", "what": e.action, "why": e.reason, "by": e.actor} for e in one.events]
        )


def tell_simulation(simulation: Simulation, note: str) -> None:
    screen.print(simulation.summary(), highlight=False)
    print_rows([{"route": route, "items": count} for route, count in sorted(simulation.routes.items())])
    if not simulation.judged:
        note = "no random item has been answered yet: 'prelabel sample RUN --strategy random' draws some"
    if note:
        screen.print(f"[dim]{note}[/]", highlight=False)


def tell_audits(report: AuditReport, drift: Sequence[Drift]) -> None:
    if not report.verdict.n_audited:
        screen.print("no audit of this policy has been answered yet", highlight=False)
        report = replace(report, accepted_error=None, dataset_error=None, remaining=None)
    else:
        screen.print(report.verdict.summary(), highlight=False)
    for error, of in ((report.accepted_error, "the accepted"), (report.dataset_error, "all")):
        if error is not None:
            screen.print(
                f"about {error.error:.2%} of {of} items are wrong ({error.low:.2%} to {error.high:.2%}, an estimate)",
                highlight=False,
            )
    if (remaining := report.remaining) is not None:
        screen.print(
            f"of the {remaining.n_accepted} accepted items at most {remaining.residual_errors} are still wrong "
            f"({remaining.residual_error_bound:.2%}), with {1.0 - remaining.delta:.0%} confidence",
            highlight=False,
        )
    if drift:
        screen.print("\nitems since the fit, against those before:")
        print_rows([_drift_line(one) for one in drift])


def tell_recount(counts: Sequence[Recount]) -> None:
    print_rows(
        [
            {
                "slice": one.slice or "all",
                "labels": one.n,
                "accepted": one.n_accepted,
                "errors": f"{one.errors:g}",
                "": "as certified" if one.is_same else "NOT as certified",
            }
            for one in counts
        ]
    )
    notes.print("each label with its pre-label and review: --json; the query: pipelines/store/evidence.py")


def _line(one: StoredPolicy) -> dict[str, object]:
    certificates = one.policy.certificates.values()
    certified = [certificate for certificate in certificates if certificate.is_certified]
    coverage = max((certificate.coverage for certificate in certified), default=0.0)
    return {
        "policy": one.policy.id,
        "task": one.policy.task,
        "round": one.policy.round,
        "state": one.state,
        "promise": f"{_WHOSE[one.policy.terms.mode]} ≤ {one.policy.terms.alpha:.1%}",
        "accepts": f"{coverage:.1%}" if certified else "nothing",
        "labels": sum(certificate.n for certificate in certificates),
    }


def _drift_line(one: Drift) -> dict[str, object]:
    return {
        "what": one.what,
        "of": one.slice,
        "then": one.reference_n,
        "now": one.current_n,
        "PSI": "" if one.psi is None else f"{one.psi:.3f}",
        "p (Holm)": f"{one.adjusted_p:.2g}",
        "": "drifted" if one.is_significant else "",
    }


def _of(slice_: str) -> str:
    return "" if slice_ == ALL else f"{slice_}: "


def _stands_on(evidence: dict) -> str:
    parts = [
        f"certified on {len(evidence['certified_on'])} answers, calibrated on {len(evidence['calibrated_on'])} others",
        f"{evidence['pending']} of the random sample wait for their review or for that of others",
    ]
    if evidence["set_aside"]:
        parts.append(f"{evidence['set_aside']} that nobody could answer count as wrong")
    if evidence["shown"]:
        parts.append(f"{evidence['shown']} were answered with the pre-label in sight, so errors may have been missed")
    return "; ".join(parts) + "."
