"""Speaks Label Studio's own REST API.

What is said here of Label Studio was seen on a running 1.23.2 with SQLite, on two slow cores.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import httpx

from serving.integrations.label_studio import calls
from serving.integrations.label_studio.errors import LabelStudioError
from serving.integrations.label_studio.records import Annotation, Backend, Prediction, Project, Task, Webhook

_TASK_FIELDS = "id,data,updated_at,total_predictions,total_annotations,cancelled_annotations"
# One list of names holds for tasks and for the annotations inside them.
_ANNOTATION_FIELDS = (
    "annotations,result,completed_by,was_cancelled,ground_truth,created_at,lead_time,"
    "parent_prediction,parent_annotation"
)
# 250 ids of eight digits make 2.8 kB of URL; nginx and its like take 8.
_IDS_A_CALL = 250
_PAGE = 500


class LabelStudio:
    """One Label Studio server, as the user whose token it is.

    Methods that read are sent again when the connection drops or the server is busy; so are those that change something
    and do nothing more when repeated. ``import_predictions``, ``import_tasks``, ``create_…`` are not: they raise
    `UnknownOutcomeError` where nobody can say whether they were carried out. All raise `LabelStudioError`; a token is
    in none of their messages.

    Args:
        url: where it is, with the path it is under, if any.
        token: a personal access token or a legacy one; told apart by their form.
        client: sends the requests, closed by its owner; without one, one is made and closed here.
    """

    def __init__(
        self, url: str, *, token: str, client: httpx.AsyncClient | None = None, attempts: int = 4, wait_s: float = 0.5
    ) -> None:
        http_client = client or calls.client()
        self._own = None if client else http_client
        self._calls = calls.Calls(url, token=token, http_client=http_client, attempts=attempts, wait_s=wait_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    async def aclose(self) -> None:
        if self._own is not None:
            await self._own.aclose()

    @property
    def url(self) -> str:
        """Where it is; no slash at its end."""
        return self._calls.url

    async def authorization(self, *, refused: Mapping[str, str] | None = None) -> Mapping[str, str]:
        """The headers that open media which Label Studio keeps, good for minutes; send them to its own origin only.

        Args:
            refused: headers given before that it has not taken; others are fetched, if there can be any.
        """
        before = None if refused is None else refused.get("Authorization")
        return {"Authorization": await self._calls.token.authorization(refused=before)}

    async def version(self) -> str:
        """The release, such as ``1.23.2``; the token is not looked at by Label Studio."""
        answer = await self._calls.get("/api/version")
        if not isinstance(answer, dict) or not isinstance(answer.get("release"), str):
            reason = "its version has no release; give the URL with the path it is under"
            raise LabelStudioError("label_studio_bad_answer", f"no Label Studio answers at {self.url}: {reason}")
        return answer["release"]

    async def user_id(self) -> int:
        """Whose token it is."""
        return int((await self._calls.get("/api/current-user/whoami"))["id"])

    # Projects

    async def project(self, project: int) -> Project:
        return Project.of(await self._calls.get(f"/api/projects/{project}/"))

    async def create_project(self, *, title: str, label_config: str) -> Project:
        """Make a project; Label Studio wants titles of 3 to 50 characters."""
        body = {"title": title, "label_config": label_config}
        return Project.of(await self._calls.send("POST", "/api/projects/", body=body, is_repeatable=False))

    async def delete_project(self, project: int) -> bool:
        """Take a project away with its tasks, backends and webhooks; False when it was not there."""
        return await self._delete(f"/api/projects/{project}/")

    async def show_predictions_of(self, project: int, model_version: str) -> Project:
        """Let annotators see the predictions of a version, or what a backend with this title gives at the moment.

        ``label_studio_rejected``: the project has neither a prediction of it nor such a backend.
        """
        body = {"model_version": model_version, "show_collab_predictions": True}
        answer = await self._calls.send("PATCH", f"/api/projects/{project}/", body=body, is_repeatable=True)
        return Project.of(answer)

    # Tasks and annotations

    async def tasks(
        self,
        project: int,
        *,
        ids: Collection[int] | None = None,
        updated_since: datetime | None = None,
        with_annotations: bool = False,
        with_storage_urls: bool = False,
        page: int = _PAGE,
    ) -> AsyncIterator[tuple[Task, ...]]:
        """The tasks of a project in the order of their ids, page by page.

        Pages go by the last id seen, so that tasks which are deleted meanwhile push none past us. The list never makes
        Label Studio ask a backend for predictions, which its task list does by itself in a project with
        ``evaluate_predictions_automatically`` (``review=true`` is what keeps it from that).

        Args:
            ids: only these; one that is missing in the answer has been deleted, or is of another project.
            updated_since: only those whose ``updated_at`` is at or after this moment, with a time zone. It moves when
                an annotation is made, changed, skipped or deleted (one or many at once): this is how changed and
                deleted annotations are found by polling, the latter by comparing with the ids one knows. Predictions
                and drafts do not move it.
            with_annotations: with all that people have submitted or skipped; costs Label Studio no more calls.
            with_storage_urls: turn addresses in a cloud storage, such as ``s3://…``, into ones that Label Studio opens,
                instead of giving them as they are (as ``/predict`` gets them).
            page: tasks a call.
        """
        chunks: list[Sequence[int] | None] = [None] if ids is None else [*_chunks(ids)]
        for chunk in chunks:
            last = 0
            while True:
                filters = [_filter("id", "greater", "Number", last)]
                if updated_since is not None:
                    filters.append(_filter("updated_at", "greater_or_equal", "Datetime", _utc(updated_since)))
                rows, total = await self._task_rows(
                    project,
                    filters=filters,
                    ids=chunk,
                    page_size=page,
                    fields="all" if with_annotations else "task_only",
                    include=f"{_TASK_FIELDS},{_ANNOTATION_FIELDS}" if with_annotations else _TASK_FIELDS,
                    review="true",
                    resolve_uri="true" if with_storage_urls else "false",
                )
                if rows:
                    yield tuple(Task.of(row, project=project, with_annotations=with_annotations) for row in rows)
                    last = int(rows[-1]["id"])
                if len(rows) >= total:
                    break

    async def annotations(self, project: int, task_ids: Collection[int]) -> dict[int, tuple[Annotation, ...]]:
        """What people have submitted for each of some tasks; one that is no more, or elsewhere, is missing."""
        found: dict[int, tuple[Annotation, ...]] = {}
        async for page in self.tasks(project, ids=task_ids, with_annotations=True):
            found |= {task.id: task.annotations or () for task in page}
        return found

    async def annotation(self, annotation: int) -> Annotation | None:
        """One annotation; None when it is no more."""
        try:
            return Annotation.of(await self._calls.get(f"/api/annotations/{annotation}/"))
        except LabelStudioError as err:
            if err.code == "label_studio_not_found":
                return None
            raise

    async def import_tasks(self, project: int, tasks: Sequence[Mapping[str, Any]]) -> tuple[int, ...]:
        """Make tasks; their ids, in order. Each is its data, or ``{"data": …, "predictions": […]}``."""
        path = f"/api/projects/{project}/import"
        answer = await self._calls.send(
            "POST", path, params={"return_task_ids": "true"}, body=list(tasks), is_repeatable=False
        )
        return tuple(int(task) for task in answer["task_ids"])

    # Predictions

    async def import_predictions(self, project: int, rows: Sequence[Mapping[str, Any]]) -> int:
        """Store predictions; how many were stored.

        Label Studio does it before it answers, and in one transaction: after an error of any kind either all of the
        call's rows are there or none. 500 rows with 5 regions each took 0.5 s, 1,000 rows 0.8 s, 1,000 with 50 regions
        2.8 s. Sent twice, they are there twice.

        A row that the project's labeling config does not allow (or with a score outside of [0, 1]) is **left out in
        silence**: fewer are stored than were sent. A task that the project does not have (any more) has the **whole
        call** refused, with ``label_studio_rejected``; `existing_tasks` tells which are there.

        Args:
            rows: ``{"task": id, "result": [regions], "score": in [0, 1] or None, "model_version": …}``.

        Raises:
            UnknownOutcomeError: they may be there; ask `predicted_tasks`.
        """
        path = f"/api/projects/{project}/import/predictions"
        answer = await self._calls.send("POST", path, body=list(rows), is_repeatable=False)
        return int(answer["created"])

    async def predicted_tasks(self, project: int, task_ids: Collection[int], model_version: str) -> set[int]:
        """Which of some tasks have at least one prediction of a model version.

        The cheapest way that there is: one call for 250 tasks, 0.16 s, 11 kB, without the predictions themselves (the
        list of a project's predictions is not paged, and 2,500 of them were 14 MB). It never makes Label Studio ask a
        backend.

        Who wants to know by it whether an answer to ``/predict`` has arrived must wait
        (pipelines/store/label_studio/deliveries.py).
        """
        if "," in model_version or not model_version:
            message = f"a model version for Label Studio must be a text without commas; got {model_version!r}"
            raise LabelStudioError("label_studio_rejected", message)
        found: set[int] = set()
        # Label Studio looks for the text inside of versions: 'v1' finds 'v10' too. All that it finds have predictions,
        # so that it asks no backend for any.
        versions = _filter("predictions_model_versions", "contains", "List", [model_version])
        for chunk in _chunks(task_ids):
            include = "id,predictions_model_versions"
            rows, _ = await self._task_rows(
                project, filters=[versions], ids=chunk, page_size=len(chunk), include=include
            )
            found |= {int(row["id"]) for row in rows if model_version in row["predictions_model_versions"].split(",")}
        return found

    async def existing_tasks(self, project: int, task_ids: Collection[int]) -> set[int]:
        """Which of some tasks the project has."""
        found: set[int] = set()
        for chunk in _chunks(task_ids):
            rows, _ = await self._task_rows(
                project, filters=[], ids=chunk, page_size=len(chunk), include="id", review="true"
            )
            found |= {int(row["id"]) for row in rows}
        return found

    async def prediction_counts(self, project: int) -> dict[str, int]:
        """How many predictions of each model version a project has; titles of its backends are among them, with 0."""
        answer = await self._calls.get(f"/api/projects/{project}/model-versions/")
        return {str(version): int(count) for version, count in answer.items()}

    async def predictions(self, task: int) -> tuple[Prediction, ...]:
        """All predictions of one task, with their regions."""
        return tuple(Prediction.of(row) for row in await self._calls.get("/api/predictions/", task=task))

    # Backends and webhooks

    async def backends(self, project: int) -> tuple[Backend, ...]:
        """A project's backends; Label Studio asks each for ``/health`` and ``/setup`` before it answers."""
        return tuple(Backend.of(row) for row in await self._calls.get("/api/ml/", project=project))

    async def create_backend(
        self,
        project: int,
        *,
        url: str,
        title: str,
        basic_auth: tuple[str, str] | None = None,
        is_interactive: bool = False,
        extra_params: Mapping[str, Any] | None = None,
    ) -> Backend:
        """Add a backend, and with it Label Studio's own webhook to ``url/webhook``.

        Label Studio calls ``/health`` (1 s, three times) and ``/setup`` (3 s) first; what it dislikes it says with
        ``label_studio_rejected``, and an address that it blocks with ``label_studio_refused``. Where only its
        SSRF_PROTECTION_ENABLED blocks the address, the backend **is added** in spite of ``label_studio_refused``,
        without the webhook.
        """
        body: dict[str, Any] = {"project": project, "url": url, "title": title, "is_interactive": is_interactive}
        if basic_auth is not None:
            user, password = basic_auth
            body |= {"auth_method": "BASIC_AUTH", "basic_auth_user": user, "basic_auth_pass": password}
        if extra_params is not None:
            body["extra_params"] = dict(extra_params)
        return Backend.of(await self._calls.send("POST", "/api/ml/", body=body, is_repeatable=False))

    async def delete_backend(self, backend: int) -> bool:
        """Take a backend away; False when it was not there. Its webhook stays."""
        return await self._delete(f"/api/ml/{backend}")

    async def webhooks(self, project: int | None = None) -> tuple[Webhook, ...]:
        """A project's webhooks; None: all of the organization that the user may see."""
        return tuple(Webhook.of(row) for row in await self._calls.get("/api/webhooks/", project=project))

    async def create_webhook(
        self,
        project: int,
        *,
        url: str,
        actions: Collection[str] = (),
        sends_payload: bool = True,
        headers: Mapping[str, str] | None = None,
    ) -> Webhook:
        """Add a webhook; without actions, for all of them. Label Studio sends ``headers`` with each call."""
        body: dict[str, Any] = {"project": project, "url": url, "send_payload": sends_payload}
        body |= {"send_for_all_actions": not actions, "actions": sorted(actions), "headers": dict(headers or {})}
        return Webhook.of(await self._calls.send("POST", "/api/webhooks/", body=body, is_repeatable=False))

    async def delete_webhook(self, webhook: int) -> bool:
        """Take a webhook away; False when it was not there."""
        return await self._delete(f"/api/webhooks/{webhook}/")

    async def _delete(self, path: str) -> bool:
        try:
            await self._calls.send("DELETE", path, is_repeatable=True)
        except LabelStudioError as err:
            if err.code == "label_studio_not_found":
                return False
            raise
        return True

    async def _task_rows(
        self, project: int, *, filters: list[dict[str, Any]], ids: Sequence[int] | None, **params: Any
    ) -> tuple[list[dict[str, Any]], int]:
        """One page of Label Studio's task list, and how many there are in all from there on."""
        query: dict[str, Any] = {"filters": {"conjunction": "and", "items": filters}} if filters else {}
        if ids is not None:
            query["selectedItems"] = {"all": False, "included": list(ids)}
        query["ordering"] = ["tasks:id"]
        answer = await self._calls.get(
            "/api/tasks/", project=project, query=json.dumps(query, separators=(",", ":")), **params
        )
        if not isinstance(answer, dict) or not isinstance(answer.get("tasks"), list):
            reason = "answered a list of tasks with something else; does it speak as 1.23 does?"
            raise LabelStudioError("label_studio_bad_answer", f"Label Studio at {self.url} {reason}")
        return answer["tasks"], int(answer["total"])


def _chunks(ids: Collection[int]) -> Iterator[Sequence[int]]:
    ordered = sorted(set(ids))
    for start in range(0, len(ordered), _IDS_A_CALL):
        yield ordered[start : start + _IDS_A_CALL]


def _filter(column: str, operator: str, kind: str, value: Any) -> dict[str, Any]:
    return {"filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value}


def _utc(moment: datetime) -> str:
    """As Label Studio's filters read it; they take it for UTC."""
    if moment.tzinfo is None:
        raise ValueError(f"a moment needs a time zone; got {moment!r}")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
