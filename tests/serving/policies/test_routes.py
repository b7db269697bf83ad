"""Checks over HTTP that a certified policy decides, is shown, and is withdrawn while the service runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from pipelines.policy.certified import CertifiedPolicy
from pipelines.policy.conditions import Conditions
from pipelines.policy.terms import Terms
from pipelines.store.policies import Policies
from pipelines.store.store import Store
from tests.pipelines.policy.builders import a_certificate, a_policy
from tests.pipelines.store.test_policies import a_fitted
from tests.serving.builders import a_client, settings_with


@pytest.fixture
async def client(postgres_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with a_client(settings_with(postgres_url)) as opened:
        yield opened


@pytest.fixture
async def policies(postgres_url: str) -> AsyncIterator[Policies]:
    async with Store.open(postgres_url) as store:
        yield Policies(store)


async def an_active_policy(client: httpx.AsyncClient, policies: Policies) -> CertifiedPolicy:
    """One that accepts scores from 0.6 up of what this service says, and audits all of it."""
    said = (await pre_label(client, "0.9"))["provenance"]
    conditions = Conditions(
        chain=tuple(said["chain"]), config_digest=said["config_digest"], rules_digest=said["rules_digest"]
    )
    terms = Terms(queue="texts", audit_rate=1.0)
    policy = replace(a_policy(terms=terms, certificates={"": a_certificate(0.3)}), conditions=conditions)
    await policies.add(replace(a_fitted(), policy=policy, calibration=None))
    await policies.activate(policy.id, actor="ada")
    return policy


async def pre_label(client: httpx.AsyncClient, text: str) -> dict:
    body = {"items": [{"id": text, "task": "ner", "text": text}]}
    return (await client.post("/v1/prelabel", json=body)).json()["results"][0]


async def until_route(client: httpx.AsyncClient, route: str, *, policy_id: str) -> dict:
    """A decision by the policy, as soon as it takes this route."""
    async with asyncio.timeout(20.0):
        while True:
            decision = (await pre_label(client, "0.7"))["decision"]
            if (decision["route"], decision["policy_id"]) == (route, policy_id):
                return decision
            await asyncio.sleep(0.1)


async def test_a_running_service_takes_up_a_policy_and_its_suspension(
    client: httpx.AsyncClient, policies: Policies
) -> None:
    before = (await pre_label(client, "0.7"))["decision"]
    policy = await an_active_policy(client, policies)

    accepted = await until_route(client, "audit", policy_id=policy.id)
    await policies.suspend(policy.id, actor="ada", reason="the guideline was wrong")
    suspended = await until_route(client, "review", policy_id=policy.id)

    assert before["policy_id"].startswith("thresholds-")
    assert accepted["is_blind"] and accepted["uniform_rate"] == 1.0
    assert "the guideline was wrong" in suspended["reason"]


async def test_wrong_audits_suspend_a_policy_while_the_service_runs(
    client: httpx.AsyncClient, policies: Policies
) -> None:
    policy = await an_active_policy(client, policies)
    await until_route(client, "audit", policy_id=policy.id)
    for number in range(12):
        await pre_label(client, f"0.{810 + number}")
    tasks = (await client.post("/v1/queues/texts/claim", json={"reviewer": "ann", "n": 100})).json()["tasks"]
    for task in tasks:  # people find no person anywhere
        answer = {"reviewer": "ann", "attempt": task["attempt"], "annotations": []}
        assert (await client.post(f"/v1/reviews/{task['id']}/submit", json=answer)).status_code == 200

    suspended = await until_route(client, "review", policy_id=policy.id)
    shown = (await client.get(f"/v1/policies/{policy.id}")).json()

    assert "audited items were wrong" in suspended["reason"]
    assert shown["state"] == "suspended" and shown["audits"]["verdict"]["is_broken"]
    assert [event["actor"] for event in shown["events"]] == ["ada", "audits"]


async def test_policies_are_listed_without_the_seed_that_would_tell_audits(
    client: httpx.AsyncClient, policies: Policies
) -> None:
    policy = await an_active_policy(client, policies)

    listed = (await client.get("/v1/policies", params={"task": "ner"})).json()["policies"]
    none = (await client.get("/v1/policies", params={"task": "speech"})).json()["policies"]
    unknown = await client.get("/v1/policies/certified-0")

    assert [(one["id"], one["state"]) for one in listed] == [(policy.id, "active")]
    assert "seed" not in listed[0] and listed[0]["certificates"][""]["summary"].startswith("Accepting scores from 0.3")
    assert none == []
    assert unknown.status_code == 404
