from __future__ import annotations

from typing import Any

import pytest

from serving.integrations.label_studio import hook_findings
from serving.integrations.label_studio.reach import OurBackend
from serving.integrations.label_studio.records import Backend, Webhook

OURS = OurBackend(url="http://ours:8000/label-studio/ner/s3cret/")
ELSEWHERE = "http://elsewhere/other-s3cret"


def a_backend(url: str = OURS.url) -> Backend:
    return Backend(
        id=1,
        project=1,
        url=url,
        title="t",
        is_connected=True,
        error=None,
        model_version="v",
        is_interactive=False,
        basic_auth_user=None,
        timeout_s=100.0,
    )


def a_webhook(number: int = 1, **changed: Any) -> Webhook:
    fields: dict[str, Any] = {
        "id": number,
        "project": 1,
        "url": OURS.url.rstrip("/") + "/webhook",
        "is_active": True,
        "sends_payload": True,
        "sends_all": True,
        "actions": frozenset(),
        "header_names": frozenset(),
    }
    return Webhook(**fields | changed)


def told(webhooks: list[Webhook], backends: list[Backend]) -> list[tuple[str, str]]:
    return [(finding.state, finding.text) for finding in hook_findings.of(webhooks, backends, OURS)]


def test_ours_alone_is_in_order() -> None:
    [(state, _)] = told([a_webhook()], [a_backend()])

    assert state == "ok"


def test_the_one_of_another_backend_is_no_orphan() -> None:
    other = a_webhook(2, url=ELSEWHERE + "/webhook")

    assert [state for state, _ in told([a_webhook(), other], [a_backend(), a_backend(ELSEWHERE)])] == ["ok"]


def test_what_is_no_backends_webhook_is_left_alone() -> None:
    chat = a_webhook(2, url="https://chat.example/hooks/1")

    assert [state for state, _ in told([a_webhook(), chat], [a_backend()])] == ["ok"]


@pytest.mark.parametrize("url", [ELSEWHERE + "/webhook", OURS.url.replace("s3cret", "0ld-s3cret") + "webhook"])
def test_one_whose_backend_is_gone_is_told_without_its_secret(url: str) -> None:
    findings = told([a_webhook(), a_webhook(2, url=url)], [a_backend()])

    assert [state for state, _ in findings] == ["ok", "note"]
    assert "number 2" in findings[1][1]
    assert "s3cret" not in str(findings)


def test_our_own_is_an_orphan_when_our_backend_is_gone() -> None:
    findings = told([a_webhook()], [])

    assert [state for state, _ in findings] == ["bad", "note"]


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ({"is_active": False}, "turn it on"),
        ({"sends_payload": False}, "payload"),
        ({"sends_all": False, "actions": hook_findings.WANTED - {"TASKS_CREATED"}}, "not told of TASKS_CREATED"),
    ],
)
def test_one_that_says_too_little_is_told_with_what_to_do(change: dict[str, Any], advice: str) -> None:
    [(state, text)] = told([a_webhook(**change)], [a_backend()])

    assert state == "bad"
    assert advice in text


def test_one_that_says_all_that_is_wanted_is_in_order() -> None:
    [(state, _)] = told([a_webhook(sends_all=False, actions=hook_findings.WANTED)], [a_backend()])

    assert state == "ok"
