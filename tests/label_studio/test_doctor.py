from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from models.errors import ItemError
from serving.doctor import Finding
from serving.integrations.label_studio.api import LabelStudio
from serving.integrations.label_studio.doctor import Parts, examine
from serving.integrations.label_studio.reach import OurBackend
from serving.integrations.label_studio.records import Project, Task
from tests.label_studio.backend import FakeBackend, a_backend
from tests.label_studio.builders import a_project, some_tasks
from tests.label_studio.server import LabelStudioServer
from tests.serving.integrations.label_studio.stub import a_stub

KEY = "k3y-of-ours"


EVERYTHING = [
    "Label Studio",
    "token",
    "project",
    "labelling interface",
    "backend here",
    "backend there",
    "webhook there",
    "backend",
    "model version",
    "webhook",
    "media",
]


class Case:
    """A project in order, with our backend connected to it, and what is planted into it."""

    def __init__(self, admin: httpx.Client, url: str, token: str, stack: ExitStack) -> None:
        self.admin, self.url, self.token, self._stack = admin, url, token, stack
        self.project = a_project(admin)
        some_tasks(admin, self.project, 2)
        self.reasons: Sequence[str] = ()
        self.trouble: ItemError | None = None
        self.backend = self.start(user="prelabel", password=KEY)
        self.ours = OurBackend(url=self.backend.url, key=KEY)

    def start(self, **options: Any) -> FakeBackend:
        return self._stack.enter_context(a_backend(**options))

    def connect(self, url: str | None = None, *, title: str = "prelabel", key: str = KEY) -> dict[str, Any]:
        auth = {"auth_method": "BASIC_AUTH", "basic_auth_user": "prelabel", "basic_auth_pass": key}
        body = {"project": self.project, "url": url or self.backend.url, "title": title, **auth}
        made = self.admin.post("/api/ml/", json=body)
        assert made.status_code == 201, made.text
        return made.json()

    def show(self, model_version: str) -> None:
        body = {"model_version": model_version, "show_collab_predictions": True}
        assert self.admin.patch(f"/api/projects/{self.project}/", json=body).is_success

    def webhooks(self) -> list[dict[str, Any]]:
        return self.admin.get("/api/webhooks/", params={"project": self.project}).json()

    async def findings(self, **changed: Any) -> list[Finding]:
        async def fetch(task: Task) -> None:
            if self.trouble is not None:
                raise self.trouble

        def unservable(project: Project) -> Sequence[str]:
            return self.reasons

        url, token = changed.get("url", self.url), changed.get("token", self.token)
        async with LabelStudio(url, token=token, attempts=1) as server, httpx.AsyncClient(trust_env=False) as client:
            parts = Parts(unservable=unservable, fetch=fetch)
            return await examine(
                server, changed.get("project", self.project), backend=self.ours, parts=parts, client=client
            )

    async def bad(self, **changed: Any) -> str:
        """The one thing that is in the way."""
        found = await self.findings(**changed)
        [bad] = [finding.text for finding in found if finding.state == "bad"]
        assert KEY not in bad
        return bad


@pytest.fixture
def case(shared_server: LabelStudioServer, admin: httpx.Client) -> Iterator[Case]:
    with ExitStack() as stack:
        yield Case(admin, shared_server.url, shared_server.token, stack)


@pytest.fixture
def healthy(case: Case) -> Case:
    case.connect()
    case.show("prelabel")
    return case


def everything(case: Case) -> tuple[Any, ...]:
    projects = case.admin.get("/api/projects/", params={"page_size": 1000}).json()["results"]
    backends = [backend["id"] for backend in case.admin.get("/api/ml/", params={"project": case.project}).json()]
    hooks = [hook["id"] for hook in case.admin.get("/api/webhooks/").json()]
    return sorted(project["id"] for project in projects), backends, hooks


async def test_nothing_is_wrong_with_a_project_that_works_and_nothing_is_left_behind(healthy: Case) -> None:
    before = everything(healthy)

    found = await healthy.findings()

    assert {finding.state for finding in found} == {"ok"}, found
    assert [finding.subject for finding in found] == EVERYTHING
    assert everything(healthy) == before
    assert "/predict" not in healthy.backend.paths


async def test_nothing_is_left_behind_where_label_studio_dislikes_our_backend(case: Case) -> None:
    case.ours = OurBackend(url=case.backend.url, key="wrong")
    before = everything(case)

    await case.findings()

    assert everything(case) == before


@pytest.fixture
async def guarded(start_server: Callable[..., LabelStudioServer]) -> AsyncIterator[Callable[..., Case]]:
    with ExitStack() as stack:

        def start(**environment: str) -> Case:
            server = start_server(**environment)
            return Case(stack.enter_context(server.client()), server.url, server.token, stack)

        yield start


async def test_an_address_that_label_studio_blocks(guarded: Callable[..., Case]) -> None:
    case = guarded(ML_BLOCK_LOCAL_IP="true")

    found = {finding.subject: finding for finding in await case.findings()}

    assert found["backend there"].state == "bad"
    assert "ML_BLOCK_LOCAL_IP=false" in found["backend there"].text
    assert found["backend here"].state == "ok"
    assert found["webhook there"].state == "ok"


async def test_an_address_that_label_studio_sends_nothing_to(guarded: Callable[..., Case]) -> None:
    case = guarded(SSRF_PROTECTION_ENABLED="true")

    found = {finding.subject: finding for finding in await case.findings()}

    assert "SSRF_PROTECTION_ENABLED=false" in found["webhook there"].text
    assert found["backend there"].state == "ok"


def allow(admin: httpx.Client, **tokens: bool) -> None:
    admin.post("/api/jwt/settings", json=tokens).raise_for_status()


async def test_a_token_that_is_not_known(healthy: Case) -> None:
    text = await healthy.bad(token="f" * 40)

    assert "Account & Settings" in text
    assert "f" * 40 not in text


async def test_legacy_tokens_that_the_organization_takes_no_more(healthy: Case, personal_token: str) -> None:
    async with LabelStudio(healthy.url, token=personal_token) as server:
        allowed = httpx.Client(base_url=healthy.url, headers=await server.authorization(), trust_env=False)
    with allowed:
        allow(allowed, legacy_api_tokens_enabled=False)
        try:
            text = await healthy.bad()
        finally:
            allow(allowed, legacy_api_tokens_enabled=True)

    assert "takes no legacy tokens" in text
    assert "personal access token" in text


async def test_personal_tokens_that_the_organization_does_not_take(healthy: Case, personal_token: str) -> None:
    allow(healthy.admin, api_tokens_enabled=False)
    try:
        text = await healthy.bad(token=personal_token)
    finally:
        allow(healthy.admin, api_tokens_enabled=True)

    assert "allow personal access tokens" in text


async def test_a_label_studio_that_is_not_there(healthy: Case) -> None:
    with a_backend() as gone:
        pass

    assert "is it up" in await healthy.bad(url=gone.url)


async def test_a_url_below_which_there_is_none(healthy: Case) -> None:
    for path in ("/projects", "/projects/1/data"):
        assert "without what comes after" in await healthy.bad(url=healthy.url + path)
    with a_stub(prefix="/tools/ls") as other:
        assert "with the path it is under" in await healthy.bad(url=other.url.removesuffix("/tools/ls"))


async def test_a_project_that_there_is_not(healthy: Case) -> None:
    assert "the number in the project's address" in await healthy.bad(project=10**8)


async def test_a_backend_that_is_down(healthy: Case) -> None:
    with a_backend() as gone:
        pass
    healthy.ours = OurBackend(url=gone.url)

    found = {finding.subject: finding for finding in await healthy.findings()}

    assert "is it up" in found["backend here"].text
    assert "does not reach" in found["backend there"].text


async def test_a_path_that_is_not_ours(healthy: Case) -> None:
    healthy.ours = OurBackend(url=healthy.backend.url + "/wrong", key=KEY)

    found = {finding.subject: finding for finding in await healthy.findings()}

    for subject in ("backend here", "backend there"):
        assert "its path is" in found[subject].text or "it is /label-studio/" in found[subject].text


async def test_a_health_that_takes_longer_than_label_studio_waits(case: Case) -> None:
    slow = case.start(health_s=1.6)
    case.ours = OurBackend(url=slow.url)

    found = {finding.subject: finding for finding in await case.findings()}

    assert "/health took 1." in found["backend here"].text
    assert "does not answer Label Studio in 1 s" in found["backend there"].text


@pytest.mark.parametrize(("key", "advice"), [(None, "wants an API key"), ("wr0ng", "does not take the API key")])
async def test_basic_auth_that_is_missing_or_wrong(case: Case, key: str | None, advice: str) -> None:
    case.ours = OurBackend(url=case.backend.url, key=key)

    found = {finding.subject: finding for finding in await case.findings()}

    assert advice in found["backend here"].text
    assert advice in found["backend there"].text


async def test_a_key_that_was_changed_after_it_was_connected(healthy: Case) -> None:
    [backend] = healthy.admin.get("/api/ml/", params={"project": healthy.project}).json()
    healthy.backend.password = "changed"
    healthy.ours = OurBackend(url=healthy.backend.url, key="changed")

    text = await healthy.bad()

    assert backend["id"]
    assert "not connected" in text
    assert "enter user and key" in text


async def test_an_interface_that_our_models_cannot_fill(healthy: Case) -> None:
    healthy.reasons = ["no control takes boxes; add a RectangleLabels"]

    assert await healthy.bad() == "no control takes boxes; add a RectangleLabels"


async def test_a_setup_that_refuses_the_interface(case: Case) -> None:
    case.ours = OurBackend(url=case.start(statuses={"/setup": 422}).url)

    found = {finding.subject: finding for finding in await case.findings()}

    assert "answered /setup with 422" in found["backend here"].text
    assert "whose /setup does not do" in found["backend there"].text


async def test_predictions_that_annotators_do_not_see(healthy: Case) -> None:
    healthy.admin.patch(f"/api/projects/{healthy.project}/", json={"show_collab_predictions": False})

    assert "turn on 'Use predictions" in await healthy.bad()


async def test_predictions_of_another_version_than_ours(healthy: Case) -> None:
    [task, _] = [
        task["id"] for task in healthy.admin.get("/api/tasks/", params={"project": healthy.project}).json()["tasks"]
    ]
    row = {"task": task, "result": [], "model_version": "older"}
    healthy.admin.post(f"/api/projects/{healthy.project}/import/predictions", json=[row])
    healthy.show("older")

    text = await healthy.bad()

    assert "'older'" in text
    assert "choose 'prelabel' or 'mv1'" in text


@pytest.mark.parametrize(
    ("address", "code", "advice"),
    [
        ("/data/local-files/?d=a.jpg", "fetch_failed", "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true"),
        ("/data/upload/1/a.jpg", "fetch_failed", "with a token of one"),
        ("/data/upload/1/a.jpg", "unreachable", "still in the media folder"),
        ("/data/upload/1/a.jpg", "not_found", "see whether it is still there"),
        ("http://10.0.0.7/a.jpg", "blocked_url", "fetch.allowed_hosts"),
        ("https://images.example/a.jpg", "fetch_failed", "credentials"),
        ("https://images.example/a.jpg", "unreachable", "this machine reaches it"),
    ],
)
async def test_media_that_cannot_be_opened(healthy: Case, address: str, code: str, advice: str) -> None:
    healthy.admin.delete(f"/api/projects/{healthy.project}/tasks/")
    some_tasks(healthy.admin, healthy.project, [{"image": address}] * 2)
    healthy.trouble = ItemError(code, "it said 403")

    text = await healthy.bad()

    assert "it said 403" in text
    assert advice in text


async def test_a_webhook_that_is_missing(healthy: Case) -> None:
    for hook in healthy.webhooks():
        healthy.admin.delete(f"/api/webhooks/{hook['id']}/")

    assert "none calls us" in await healthy.bad()


async def test_a_webhook_that_points_elsewhere(healthy: Case) -> None:
    [hook] = healthy.webhooks()
    healthy.admin.patch(f"/api/webhooks/{hook['id']}/", json={"url": "http://127.0.0.1:9/secret-path/hook"})

    text = await healthy.bad()

    assert "there is one to http://127.0.0.1:9" in text
    assert "secret-path" not in text


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ({"is_active": False}, "turn it on"),
        ({"send_payload": False}, "'Send payload'"),
        ({"send_for_all_actions": False, "actions": ["TASKS_CREATED"]}, "not told of ANNOTATIONS_CREATED"),
    ],
)
async def test_a_webhook_that_says_too_little(healthy: Case, change: dict[str, Any], advice: str) -> None:
    [hook] = healthy.webhooks()
    healthy.admin.patch(f"/api/webhooks/{hook['id']}/", json=change).raise_for_status()

    assert advice in await healthy.bad()


async def test_a_webhook_that_outlived_its_backend(healthy: Case) -> None:
    other = healthy.start(user="prelabel", password=KEY)
    made = healthy.connect(other.url, title="second")
    healthy.admin.delete(f"/api/ml/{made['id']}").raise_for_status()

    found = await healthy.findings()

    [note] = [finding for finding in found if finding.state == "note"]
    assert not [finding for finding in found if finding.state == "bad"]
    assert "no backend of the project any more" in note.text
    assert "delete it" in note.text


async def test_a_project_that_does_not_have_our_backend(case: Case) -> None:
    found = {finding.subject: finding for finding in await case.findings()}

    assert "label-studio connect" in found["backend"].text


async def test_a_backend_that_label_studio_does_not_ask(case: Case) -> None:
    other = case.start(user="prelabel", password=KEY)
    case.connect(other.url, title="the other")
    case.connect()
    case.show("prelabel")

    text = await case.bad()

    assert "asks only the first, 'the other'" in text
