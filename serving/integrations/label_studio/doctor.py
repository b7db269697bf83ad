"""Finds out what keeps a Label Studio project and the service from working together, and says what to do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import httpx

from models.errors import ItemError
from serving.doctor import Finding
from serving.integrations.label_studio import hook_findings, reach
from serving.integrations.label_studio.api import LabelStudio
from serving.integrations.label_studio.errors import LabelStudioError
from serving.integrations.label_studio.reach import OurBackend
from serving.integrations.label_studio.records import Backend, Project, Task

_TASKS_LOOKED_AT = 5
# Proxies that name themselves.
_PROXIES = ("nginx", "openresty", "apache", "envoy", "awselb", "cloudflare")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What others know.

    Attributes:
        unservable: why our models cannot serve a project's labelling interface; nothing where they can.
        fetch: opens the media of one task, as a pre-labelling would; raises an ItemError where it cannot.
    """

    unservable: Callable[[Project], Sequence[str]]
    fetch: Callable[[Task], Awaitable[None]]


async def examine(
    server: LabelStudio, project: int, *, backend: OurBackend, parts: Parts, client: httpx.AsyncClient
) -> list[Finding]:
    """Look at all that a project needs to be pre-labelled; leaves everything as it was.

    To see our backend as Label Studio sees it, it makes a project of its own there, adds the backend and a webhook to
    it, and deletes the project again. What comes later is not looked at where it cannot work: nothing can be said of a
    project without a token.

    Args:
        project: the number in the project's address.
        backend: where Label Studio is to call us.
        client: sends calls to Label Studio's front and to our backend, from this machine and without any token.
    """
    try:
        return [finding async for finding in _findings(server, project, backend, parts, client)]
    except LabelStudioError as err:
        return [Finding(subject="Label Studio", state="bad", text=err.message)]


async def _findings(
    server: LabelStudio, number: int, ours: OurBackend, parts: Parts, client: httpx.AsyncClient
) -> AsyncIterator[Finding]:
    try:
        version = await server.version()
    except LabelStudioError as err:
        yield Finding(subject="Label Studio", state="bad", text=err.message)
        return
    yield Finding(subject="Label Studio", state="ok", text=f"{version} at {server.url}")
    if (note := await _front(server, client)) is not None:
        yield note
    try:
        user = await server.user_id()
    except LabelStudioError as err:
        yield Finding(subject="token", state="bad", text=_refusal(err, server))
        return
    yield Finding(subject="token", state="ok", text=f"it is user {user}'s")
    try:
        project = await server.project(number)
    except LabelStudioError as err:
        advice = "give the number in the project's address, and a token of one of its members"
        yield Finding(subject="project", state="bad", text=f"{err.message}; {advice}")
        return
    yield Finding(subject="project", state="ok", text=f"{project.title!r} with {project.tasks} tasks")
    async for finding in _project(server, project, ours, parts, client):
        yield finding


async def _project(
    server: LabelStudio, project: Project, ours: OurBackend, parts: Parts, client: httpx.AsyncClient
) -> AsyncIterator[Finding]:
    reasons = parts.unservable(project)
    for reason in reasons:
        yield Finding(subject="labelling interface", state="bad", text=reason)
    if not reasons:
        yield Finding(subject="labelling interface", state="ok", text="our models can fill it")
    here = await reach.from_here(client, ours, project, hostname=server.url)
    for finding in here.findings:
        yield finding
    for finding in await reach.from_label_studio(server, ours, project):
        yield finding
    backends = await server.backends(project.id)
    for finding in _backends(backends, ours):
        yield finding
    for finding in _versions(project, backends, ours, here.model_version):
        yield finding
    for finding in hook_findings.of(await server.webhooks(project.id), backends, ours):
        yield finding
    async for finding in _media(server, project, parts):
        yield finding


def _refusal(err: LabelStudioError, server: LabelStudio) -> str:
    if "legacy token authentication has been disabled" in err.message:
        advice = "make a personal access token in Account & Settings, or let an owner allow legacy ones"
        return f"the organization takes no legacy tokens any more; {advice} in Organization → API Tokens Settings"
    if err.code == "label_studio_not_found":
        return (
            f"there is a Label Studio at {server.url}, but not its interface; give the URL without what comes after it"
        )
    if err.code != "label_studio_refused":
        return err.message
    if "Authentication credentials were not provided" in err.message:  # it gave an access token, and does not take it
        return f"{err.message}; let an owner allow personal access tokens in Organization → API Tokens Settings"
    return f"{err.message}; copy it again from Account & Settings, the whole of it and without any word before it"


async def _front(server: LabelStudio, client: httpx.AsyncClient) -> Finding | None:
    """What stands before Label Studio, if it says so; Label Studio's own time-outs cannot be asked for."""
    try:
        headers = (await client.get(server.url + "/health", timeout=10.0)).headers
    except httpx.HTTPError:
        return None
    said = f"{headers.get('server', '')} {headers.get('via', '')}".strip()
    if any(name in said.lower() for name in _PROXIES):
        text = (
            f"{said} stands before it and gives up on pages after a time of its own (nginx: 60 s, unless it is told "
            "otherwise): 'Retrieve predictions' of many tasks then shows an error while it goes on; let it wait 120 s"
        )
        return Finding(subject="time-outs", state="note", text=text)
    return None


def _backends(backends: Sequence[Backend], ours: OurBackend) -> list[Finding]:
    """Whether the project has us, connected, and as the one that it asks."""
    mine = [backend for backend in backends if ours.is_at(backend.url)]
    if not mine:
        text = (
            "the project does not have our backend; run 'prelabel label-studio connect', or add it in Settings → Model"
        )
        return [Finding(subject="backend", state="bad", text=text)]
    found = []
    if not mine[0].is_connected:
        why = mine[0].error or "its user or key there may be another one than ours"
        text = f"Label Studio has it as not connected ({why}); open it in Settings → Model, enter user and key, save"
        found.append(Finding(subject="backend", state="bad", text=text))
    if backends[0] is not mine[0]:
        text = (
            f"the project has {len(backends)} backends, and Label Studio asks only the first, {backends[0].title!r}; "
            "delete that one in Settings → Model, or leave it to our pushes"
        )
        found.append(Finding(subject="backend", state="bad", text=text))
    return found or [Finding(subject="backend", state="ok", text=f"{mine[0].title!r} is connected")]


def _versions(
    project: Project, backends: Sequence[Backend], ours: OurBackend, model_version: str | None
) -> list[Finding]:
    """Whether annotators see what we give."""
    subject = "model version"
    titles = {backend.title for backend in backends if ours.is_at(backend.url)}
    if model_version is None:
        return []
    shown = project.model_version
    if not project.show_predictions:
        text = "annotators see no predictions; turn on 'Use predictions to prelabel tasks' in Settings → Annotation"
        return [Finding(subject=subject, state="bad", text=text)]
    if shown == model_version or shown in titles:
        return [Finding(subject=subject, state="ok", text=f"annotators see {shown!r}")]
    what = f"predictions of {shown!r}" if shown else "no predictions"
    known = " or ".join(repr(name) for name in [*sorted(titles), model_version])
    text = f"annotators see {what}, and ours are of {model_version!r}; choose {known} in Settings → Annotation"
    return [Finding(subject=subject, state="bad", text=text)]


async def _media(server: LabelStudio, project: Project, parts: Parts) -> AsyncIterator[Finding]:
    """Whether the first tasks' media can be opened; failures of one kind are told once."""
    opened, told = 0, set[str]()
    async for page in server.tasks(project.id, page=_TASKS_LOOKED_AT):
        for task in page:
            try:
                await parts.fetch(task)
                opened += 1
            except ItemError as err:
                if err.code not in told:
                    text = f"task {task.id}: {err.message}; {_media_advice(err, task)}"
                    yield Finding(subject="media", state="bad", text=text)
                told.add(err.code)
        break
    if opened:
        yield Finding(subject="media", state="ok", text=f"{opened} of the first tasks can be opened")
    elif not told:
        yield Finding(subject="media", state="note", text="the project has no tasks yet")


def _media_advice(err: ItemError, task: Task) -> str:
    addresses = " ".join(value for value in task.data.values() if isinstance(value, str))
    if "/data/local-files/" in addresses:
        return (
            "set LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT where Label "
            "Studio runs, and add the folder in Settings → Cloud Storage"
        )
    if "/data/upload/" in addresses and err.code == "unreachable":  # 1.23.2 says 500 where the file is gone
        return "see whether the file is still in the media folder of Label Studio, and what its log says"
    if "/data/upload/" in addresses and err.code == "fetch_failed":
        return "Label Studio opens uploads to its users only: run 'prelabel label-studio connect' with a token of one"
    match err.code:
        case "blocked_url":
            return "name its host in fetch.allowed_hosts (its bucket in fetch.allowed_buckets), if it is to be opened"
        case "unreachable" | "timeout":
            return "see that this machine reaches it: Label Studio only hands addresses on, and never the files"
        case "not_found":
            return "see whether it is still there"
        case _:
            return "if it wants credentials, give those for its address in fetch"
