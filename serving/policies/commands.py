"""Gives the command line its commands for certified policies."""

from __future__ import annotations

import getpass
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from models.errors import ConfigError
from models.types import Task
from pipelines.audit import Drift
from pipelines.policy.audited import AuditReport
from pipelines.policy.scoring import scored_again
from pipelines.policy.simulation import Simulation, fresh, simulate
from pipelines.policy.terms import Terms
from pipelines.policy.trace import Recount, Traced, recount, trace
from pipelines.store.evidence import EvidenceReader
from pipelines.store.policies import Policies, StoredPolicy
from pipelines.store.store import Store
from pipelines.watch import Watch
from serving import settings as configuration
from serving.drops.commands import with_store
from serving.policies.conditions import conditions_of
from serving.policies.fitting import fit_policy
from serving.policies.terminal import (
    tell_audits,
    tell_fitted,
    tell_policies,
    tell_recount,
    tell_simulation,
    tell_stored,
)
from serving.policies.views import fitted_view, report_view, stored_view
from serving.settings import Settings
from serving.terminal import AsJson, Config, notes, print_json, task_named

policy_app = typer.Typer(
    no_args_is_help=True, help="Policies that accept items without a human, under a certificate on the error."
)

T = TypeVar("T")
TaskName = Annotated[str, typer.Option("--task", help="detection, segmentation, ner or speech.", show_default=False)]
PolicyId = Annotated[
    str, typer.Argument(help="The policy's id, as 'prelabel policy show' lists it.", show_default=False)
]
RunId = Annotated[str | None, typer.Option("--run", help="Look at this run alone.", show_default=False)]
Reason = Annotated[str, typer.Option(help="Why, for those who look later.", show_default=False)]


@policy_app.command("fit")
def fit_command(
    task: TaskName,
    run: RunId = None,
    mode: Annotated[
        str | None, typer.Option(help="dataset_error or accepted_error; else as configured.", show_default=False)
    ] = None,
    alpha: Annotated[float | None, typer.Option(help="The bound on the error.", show_default=False)] = None,
    delta: Annotated[
        float | None, typer.Option(help="The chance that it fails, over all rounds.", show_default=False)
    ] = None,
    keep: Annotated[bool, typer.Option("--keep-calibration", help="Certify with the calibration there is.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Calibrate and certify a policy by the reviews of the random sample; 'activate' puts it in force.

    Every fit spends a part of delta: half of what is left, whatever becomes of it.
    """
    settings, of = configuration.load(config), task_named(task)
    terms = _terms(settings, of, mode=mode, alpha=alpha, delta=delta)
    fitted = _with(settings, lambda store: fit_policy(store, settings, of, terms, run_id=run, keep=keep))
    if as_json:
        print_json(fitted_view(fitted))
        return
    tell_fitted(fitted)


@policy_app.command()
def show(
    policy_id: Annotated[str | None, typer.Argument(help="Else all of them.", show_default=False)] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List the policies, or show one with its certificates, what it stands on, and what happened to it."""
    if policy_id is None:
        stored = with_store(config, lambda store: Policies(store).list())
        print_json([stored_view(one) for one in stored]) if as_json else tell_policies(stored)
        return
    one = with_store(config, lambda store: Policies(store).get(policy_id))
    print_json(stored_view(one)) if as_json else tell_stored(one)


@policy_app.command("simulate")
def simulate_command(
    policy_id: Annotated[
        str | None, typer.Argument(help="Else the thresholds of the configuration.", show_default=False)
    ] = None,
    task: Annotated[str | None, typer.Option(help="Where no policy is named.", show_default=False)] = None,
    run: RunId = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Say what a policy would have done with past items; nothing is changed.

    Where there are answers that the policy was not fitted to, it is held against these alone.
    """
    settings = configuration.load(config)
    simulation, note = _with(settings, lambda store: _simulated(store, settings, policy_id, task, run))
    if as_json:
        print_json(
            asdict(simulation) | {"coverage": simulation.coverage, "summary": simulation.summary(), "note": note}
        )
        return
    tell_simulation(simulation, note)


@policy_app.command()
def audit(policy_id: PolicyId, run: RunId = None, config: Config = None, as_json: AsJson = False) -> None:
    """Say what people's answers to a policy's audits mean for its promise, and suspend it where that is broken."""
    report, drift, suspended = with_store(config, lambda store: _audited(store, policy_id, run))
    if as_json:
        print_json(report_view(report) | {"drift": [asdict(one) for one in drift], "suspended": suspended})
        return
    tell_audits(report, drift)
    if suspended:
        notes.print(f"[bold red]{policy_id} is suspended[/]: everything goes to people")


async def _audited(store: Store, policy_id: str, run: str | None) -> tuple[AuditReport, list[Drift], bool]:
    watch, policies = Watch(store), Policies(store)
    await watch.look()
    stored = await policies.get(policy_id)
    report = await watch.report(stored.policy, run_id=run)
    return report, await watch.drift(policy_id), stored.state == "suspended"


@policy_app.command("trace")
def trace_command(policy_id: PolicyId, config: Config = None, as_json: AsJson = False) -> None:
    """Count a certificate's figures again from the rows that they are made of, and list these rows (--json)."""
    rows, counts = with_store(config, lambda store: _traced(store, policy_id))
    if as_json:
        print_json({"figures": [asdict(one) for one in counts], "rows": [asdict(one) for one in rows]})
    else:
        tell_recount(counts)
    if not all(one.is_same for one in counts):
        raise typer.Exit(1)


async def _traced(store: Store, policy_id: str) -> tuple[list[Traced], list[Recount]]:
    stored = await Policies(store).get(policy_id)
    rows = trace(await EvidenceReader(store).certified_on(stored), stored.policy, stored.calibration)
    return rows, recount(rows, stored.policy)


@policy_app.command("report")
def report_command(
    policy_id: PolicyId,
    out: Annotated[Path, typer.Option(help="The page to write, such as calibration.html.", show_default=False)],
    config: Config = None,
) -> None:
    """Write how well a policy's calibration holds on answers that it was not fitted to, as one page."""
    with_store(config, lambda store: _report(store, policy_id, out))
    notes.print(f"look at [bold]{out}[/]", soft_wrap=True)


async def _report(store: Store, policy_id: str, out: Path) -> None:
    from pipelines.calibration.report import write_report
    from pipelines.calibration.report.held_out import judged_items, judged_labels

    stored = await Policies(store).get(policy_id)
    policy, calibration = stored.policy, stored.calibration
    if calibration is None:
        raise ConfigError(f"policy '{policy_id}' has no calibration: {stored.evidence['uncalibrated']}")
    judged = [one for one in await EvidenceReader(store).certified_on(stored) if one.answer is not None]
    said = [scored_again(one.pre_label, calibration).prediction for one in judged]
    answers = [one.answer or () for one in judged]
    acceptable = policy.terms.acceptable(policy.task)
    write_report(
        out,
        calibration=calibration,
        labels=judged_labels(policy.task, said, answers, acceptable),
        items=judged_items(policy.task, said, answers, acceptable, calibration),
        is_held_out=True,
        made=datetime.now(UTC),
        title=f"Calibration of {policy.id}",
    )


@policy_app.command()
def activate(policy_id: PolicyId, reason: Reason = "activated", config: Config = None) -> None:
    """Put a policy in force for its task, within a second and for every process on this store."""
    stored = with_store(config, lambda store: _activated(store, policy_id, reason))
    notes.print(f"[bold]{policy_id}[/] decides from now on; runs that have begun stay with the policy they began with")
    if not any(certificate.is_certified for certificate in stored.policy.certificates.values()):
        notes.print("it accepts nothing: all items go to people")


async def _activated(store: Store, policy_id: str, reason: str) -> StoredPolicy:
    await Policies(store).activate(policy_id, actor=getpass.getuser(), reason=reason)
    return await Policies(store).get(policy_id)


@policy_app.command()
def suspend(policy_id: PolicyId, reason: Reason = "suspended by hand", config: Config = None) -> None:
    """Let a policy accept nothing any more: everything goes to people."""
    could = with_store(config, lambda store: Policies(store).suspend(policy_id, actor=getpass.getuser(), reason=reason))
    notes.print(f"[bold]{policy_id}[/] accepts nothing any more" if could else f"{policy_id} was suspended already")


@policy_app.command()
def retire(policy_id: PolicyId, reason: Reason = "retired", config: Config = None) -> None:
    """Take a policy out of force; the thresholds of the configuration decide again."""
    with_store(config, lambda store: Policies(store).retire(policy_id, actor=getpass.getuser(), reason=reason))
    notes.print(f"[bold]{policy_id}[/] is retired; the configuration's thresholds decide")


def _terms(settings: Settings, task: Task, *, mode: str | None, alpha: float | None, delta: float | None) -> Terms:
    """The configured terms with what the command line says instead.

    Raises:
        ConfigError: they are none.
    """
    from pydantic import ValidationError

    from pipelines.policy.terms import TERMS

    if task not in settings.policies:
        raise ConfigError(f"task '{task}' is not configured; choose one of: {', '.join(settings.policies)}")
    configured = settings.certificates.get(task) or Terms(queue=settings.policies[task].queue)
    given = {"mode": mode, "alpha": alpha, "delta": delta}
    changed = replace(configured, **{name: value for name, value in given.items() if value is not None})
    try:
        return TERMS.validate_python(TERMS.dump_python(changed))
    except ValidationError as err:
        problems = "; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']}; got {p['input']!r}" for p in err.errors())
        raise ConfigError(f"these are no terms for a certificate: {problems}") from err


async def _simulated(
    store: Store, settings: Settings, policy_id: str | None, task: str | None, run: str | None
) -> tuple[Simulation, str]:
    if policy_id is None:
        if task is None:
            raise ConfigError("name a policy, or a --task to try the configured thresholds of")
        of = task_named(task)
        evidence = await EvidenceReader(store).read(of, conditions_of(settings, of), run_id=run)
        terms = settings.certificates.get(of) or Terms(queue=settings.policies[of].queue)
        return simulate(
            settings.policies[of],
            evidence,
            task=of,
            calibration=None,
            acceptable=terms.acceptable(of),
            delta=terms.delta,
        ), ""
    stored = await Policies(store).get(policy_id)
    policy, of = stored.policy, stored.policy.task
    evidence = await EvidenceReader(store).read(of, policy.conditions, run_id=run)
    used = frozenset(stored.evidence["certified_on"]) | frozenset(stored.evidence["calibrated_on"])
    new = fresh(evidence.judged, stored.created_at, used=used)
    note = "held against answers that came after the fit"
    if not new:
        note = "held against the answers that it was fitted to: the certificate's bound stands, these bounds flatter it"
    return simulate(
        policy,
        replace(evidence, judged=new or evidence.judged),
        task=of,
        calibration=stored.calibration,
        acceptable=policy.terms.acceptable(of),
        delta=policy.terms.delta,
    ), note


def _with(settings: Settings, ask: Callable[[Store], Awaitable[T]]) -> T:
    import asyncio

    from serving.drops.annotate import opened_store

    async def opened() -> T:
        async with opened_store(settings) as store:
            return await ask(store)

    return asyncio.run(opened())
