"""Finds out whether our backend is reached: from this machine, and from Label Studio."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx

from serving.doctor import Finding
from serving.integrations.label_studio.api import LabelStudio
from serving.integrations.label_studio.errors import LabelStudioError
from serving.integrations.label_studio.records import Project

# What Label Studio waits, unless ML_TIMEOUT_HEALTH and ML_TIMEOUT_SETUP say otherwise.
_HEALTH_S = 1.0
_SETUP_S = 3.0
_LIMIT_S = 10.0
_TITLE = "prelabel doctor, may be deleted"
_BLOCKED = "reserved network address"


@dataclass(frozen=True, slots=True, kw_only=True)
class OurBackend:
    """Where Label Studio is to call us; ``url`` and ``key`` are secrets."""

    url: str = field(repr=False)
    user: str = "prelabel"
    key: str | None = field(default=None, repr=False)

    @property
    def basic_auth(self) -> tuple[str, str] | None:
        return None if self.key is None else (self.user, self.key)

    def is_at(self, url: str) -> bool:
        """Whether an address that Label Studio has is ours."""
        return url.rstrip("/") == self.url.rstrip("/")

    @property
    def shown(self) -> str:
        """Without the path, which may hold a key."""
        parsed = httpx.URL(self.url)
        return f"{parsed.scheme}://{parsed.netloc.decode()}"

    def hidden(self, text: str) -> str:
        """A text of Label Studio's without our address and key."""
        path = httpx.URL(self.url).path.rstrip("/")
        for secret in (self.url.rstrip("/"), path, self.key):
            if secret:
                text = text.replace(secret, "…")
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """What this machine sees of our backend, and what ``/setup`` says annotators get."""

    findings: tuple[Finding, ...]
    model_version: str | None = None


async def from_here(client: httpx.AsyncClient, ours: OurBackend, project: Project, *, hostname: str) -> Here:
    """Ask our backend what Label Studio asks it first: ``/health`` and ``/setup``."""
    asked = await _ask(client, ours, "GET", "/health", None, _HEALTH_S)
    if isinstance(asked, Finding):
        return Here(findings=(asked,))
    uid = f"{project.id}.{int(project.created_at.timestamp())}"
    body = {"project": uid, "schema": project.label_config, "hostname": hostname, "access_token": ""}
    answer = await _ask(client, ours, "POST", "/setup", body, _SETUP_S)
    if isinstance(answer, Finding):
        return Here(findings=(answer,))
    version = answer.get("model_version")
    if not isinstance(version, str):
        return Here(findings=(_bad("its /setup gives no model_version; is that a backend of ours?"),))
    text = f"{ours.shown} answers this machine in time"
    return Here(findings=(Finding(subject="backend here", state="ok", text=text),), model_version=version)


async def _ask(
    client: httpx.AsyncClient, ours: OurBackend, method: str, path: str, body: Any, limit_s: float
) -> dict[str, Any] | Finding:
    begun_at = time.monotonic()
    try:
        url = ours.url.rstrip("/") + path
        response = await client.request(method, url, json=body, timeout=_LIMIT_S, auth=ours.basic_auth)
        answer = response.json() if response.is_success else {}
    except httpx.TimeoutException:
        return _bad(f"{ours.shown} gave no answer to {path} in {_LIMIT_S:g} s; see whether it runs and is not stuck")
    except (httpx.HTTPError, httpx.InvalidURL) as err:
        return _bad(f"{ours.shown} is not to be reached ({ours.hidden(str(err))}); is it up, and its address right?")
    except ValueError:
        return _bad(f"{ours.shown} answers {path} with no JSON; does a proxy stand there, or another service?")
    taken_s = time.monotonic() - begun_at
    if response.status_code in (401, 403):
        return _bad(_key_advice(ours, f"{ours.shown} refused {path} ({response.status_code})"))
    if response.status_code == 404:
        return _bad(f"{ours.shown} knows no {path} there; its path is /label-studio/ and a task, such as detection")
    if not response.is_success:
        return _bad(f"{ours.shown} answered {path} with {response.status_code}: {_reason(response)}")
    if taken_s > limit_s:
        text = f"{path} took {taken_s:.1f} s, and Label Studio waits {limit_s:g} s; see what keeps the service busy"
        return _bad(text)
    return answer if isinstance(answer, dict) else {}


def _reason(response: httpx.Response) -> str:
    try:
        return str(response.json())[:400]
    except ValueError:
        return response.text[:100]


async def from_label_studio(server: LabelStudio, ours: OurBackend, project: Project) -> list[Finding]:
    """What Label Studio says when our backend, and a webhook to it, are added to a project made for that."""
    found = []
    try:
        async with _throw_away(server, project.label_config) as number:
            found.append(await _as_backend(server, ours, number))
            found.append(await _as_webhook(server, ours, number))
    except LabelStudioError as err:
        text = (
            f"trying whether Label Studio reaches us, in a project {_TITLE!r}, went wrong: {ours.hidden(err.message)}"
        )
        found.append(Finding(subject="backend there", state="note", text=text))
    return found


@asynccontextmanager
async def _throw_away(server: LabelStudio, label_config: str) -> AsyncIterator[int]:
    """A project with a labelling interface, deleted afterwards with all that was added to it."""
    made = await server.create_project(title=_TITLE, label_config=label_config)
    try:
        yield made.id
    finally:
        await server.delete_project(made.id)


async def _as_backend(server: LabelStudio, ours: OurBackend, project: int) -> Finding:
    try:
        await server.create_backend(project, url=ours.url, title="prelabel doctor", basic_auth=ours.basic_auth)
    except LabelStudioError as err:
        said = ours.hidden(err.message)
        if _BLOCKED not in said or not await server.backends(project):
            return _bad(_why_no_backend(ours, said), subject="backend there")
        # The backend itself is there: it was the webhook, added with it, that was refused.
    return Finding(subject="backend there", state="ok", text=f"Label Studio reaches {ours.shown}")


def _why_no_backend(ours: OurBackend, said: str) -> str:
    if _BLOCKED in said:
        return (
            f"Label Studio calls no private address such as {ours.shown}; set ML_BLOCK_LOCAL_IP=false where it runs, "
            "or give us an address that is public"
        )
    if "Can't resolve hostname" in said:
        return f"Label Studio finds no machine of the name in {ours.shown}; give an address that it can look up"
    if "authentication parameters" in said:
        return _key_advice(ours, f"Label Studio reaches {ours.shown}, which refuses it (401)")
    if "timed out" in said:
        advice = "see that no firewall stands between, and that the service is not busy"
        return f"{ours.shown} does not answer Label Studio in {_HEALTH_S:g} s; {advice}"
    if "404" in said:
        return f"{ours.shown} knows no such path; it is /label-studio/ and a task, such as detection"
    if "valid ML backend" in said:
        return f"Label Studio reaches {ours.shown}, whose /setup does not do for it: {said}"
    return f"Label Studio does not reach {ours.shown}; where it runs in a container, localhost is the container: {said}"


async def _as_webhook(server: LabelStudio, ours: OurBackend, project: int) -> Finding:
    try:
        url = ours.url.rstrip("/") + "/webhook"
        await server.create_webhook(project, url=url, actions=["TASKS_DELETED"], sends_payload=False)
    except LabelStudioError as err:
        said = ours.hidden(err.message)
        text = f"Label Studio will not have a webhook to {ours.shown}: {said}"
        if _BLOCKED in said:
            text = (
                f"Label Studio sends nothing to private addresses such as {ours.shown}: it says 403 when our backend "
                "is added, adds it all the same, and tells us of no new tasks and answers; set "
                "SSRF_PROTECTION_ENABLED=false where it runs"
            )
        return _bad(text, subject="webhook there")
    return Finding(subject="webhook there", state="ok", text=f"Label Studio may send to {ours.shown}")


def _key_advice(ours: OurBackend, what: str) -> str:
    if ours.key is None:
        return f"{what}: it wants an API key, and none was given; give it as the password of Basic auth"
    return (
        f"{what}: it does not take the API key that was given as the password of Basic auth; see auth in its settings"
    )


def _bad(text: str, *, subject: Literal["backend here", "backend there", "webhook there"] = "backend here") -> Finding:
    return Finding(subject=subject, state="bad", text=text)
