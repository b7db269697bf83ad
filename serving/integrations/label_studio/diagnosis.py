"""Puts together what the doctor needs to look at a project: where it is, our address there, our models, its media."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import httpx

from models.errors import ConfigError, ItemError, PrelabelError
from models.types import Task as LabelTask
from pipelines.errors import NotFoundError
from pipelines.formats.label_studio.binding import UnservableError
from pipelines.store.label_studio.connections import Connection, Connections
from pipelines.store.store import Store
from serving.client import AsyncClient
from serving.doctor import Finding
from serving.integrations.label_studio.api import LabelStudio
from serving.integrations.label_studio.call import Refused, bound, wanted
from serving.integrations.label_studio.connect import USER
from serving.integrations.label_studio.doctor import Parts, examine
from serving.integrations.label_studio.errors import LabelStudioError
from serving.integrations.label_studio.labels import told_labels
from serving.integrations.label_studio.media import ConnectionMedia
from serving.integrations.label_studio.reach import OurBackend
from serving.integrations.label_studio.records import Project, Task
from serving.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """The project to look at, as far as it was said; what is missing is looked up where it is connected."""

    project_id: int
    url: str | None = None
    token: str | None = field(default=None, repr=False)
    task: str | None = None
    service_url: str | None = None
    api_key: str | None = field(default=None, repr=False)


async def diagnose(patient: Patient, settings: Settings, store: Store) -> list[Finding]:
    """All that stands between a project and the service; leaves everything as it was.

    Raises:
        ConfigError: the project is not connected, and its URL or a token were not given.
    """
    connection = await _connection(patient, store)
    default_url = f"http://{settings.server.host}:{settings.server.port}"
    patient = replace(patient, service_url=patient.service_url or connection.service_url or default_url)
    async with (
        LabelStudio(connection.url, token=connection.token, attempts=2) as server,
        ConnectionMedia(settings.fetch) as media,
        httpx.AsyncClient(trust_env=False) as client,
    ):
        given = await _given_labels(patient, settings)
        fetcher = media.of(connection)

        def unservable(project: Project) -> Sequence[str]:
            try:
                bound(settings, connection.task, project.label_config, given=lambda task: given.get(task, ()))
            except UnservableError as err:
                return err.reasons
            except PrelabelError as err:
                return [err.message]
            return ()

        async def fetch(task: Task) -> None:
            """Open a task's media; whether the labeling config fits is another finding."""
            with suppress(ConfigError, UnservableError, NotFoundError):
                found = bound(settings, connection.task, project_config)
                item = wanted({"id": task.id, "data": task.data}, found, server_url=connection.url)
                if isinstance(item, Refused):
                    raise ItemError("invalid_entry", item.reason)
                await fetcher.fetch(item.item)

        project_config = await _label_config(server, patient.project_id)
        backend = OurBackend(url=await _address(server, connection, patient), user=USER, key=patient.api_key)
        parts = Parts(unservable=unservable, fetch=fetch)
        findings = await examine(server, patient.project_id, backend=backend, parts=parts, client=client)
        return [*findings, *_missing(project_config, connection, settings, given)]


def _missing(
    label_config: str, connection: Connection, settings: Settings, given: Mapping[LabelTask, tuple[str, ...]]
) -> Iterator[Finding]:
    """Which labels the models give and the project does not offer, where it offers any."""
    with suppress(PrelabelError):
        found = bound(settings, connection.task, label_config, given=lambda task: given.get(task, ()))
        if missing := found.binding.missing_labels:
            text = f"the project does not offer {', '.join(missing)}; what bears these is not asked for"
            yield Finding(subject="labels", state="note", text=text)


async def _connection(patient: Patient, store: Store) -> Connection:
    """The project's connection, or what one would be."""
    for one in await Connections(store).all():
        if one.project_id == patient.project_id and patient.url in (None, one.url, f"{one.url}/"):
            return one if patient.token is None else replace(one, token=patient.token)
    if patient.url is None or patient.token is None:
        raise ConfigError(f"project {patient.project_id} is not connected; say where it is with --url and --token")
    return Connection(
        id="",
        url=patient.url.rstrip("/"),
        project_id=patient.project_id,
        task=patient.task or "auto",
        token=patient.token,
        is_automatic=True,
        polled_until=None,
    )


async def _given_labels(patient: Patient, settings: Settings) -> dict[LabelTask, tuple[str, ...]]:
    """By task the labels that the running service gives; none where it does not answer, which is found elsewhere."""
    with suppress(PrelabelError):
        async with AsyncClient(patient.service_url or "", api_key=patient.api_key, attempts=1) as client:
            return await told_labels(settings, client)
    return {}


async def _label_config(server: LabelStudio, project_id: int) -> str:
    with suppress(LabelStudioError):
        return (await server.project(project_id)).label_config
    return ""


async def _address(server: LabelStudio, connection: Connection, patient: Patient) -> str:
    """Where Label Studio is to call us: at the address that holds the connection's key, if it has that.

    Our API key is sent there, so it must be the service's own: whoever may add backends to a project sees the
    connection's id.
    """
    service_url = (patient.service_url or "").rstrip("/")
    with suppress(LabelStudioError):
        for backend in await server.backends(connection.project_id):
            path = backend.url.removeprefix(f"{service_url}/label-studio/")
            if connection.id and path != backend.url and path.partition("/")[2].startswith(f"{connection.id}-"):
                return backend.url
    return f"{service_url}/label-studio/{connection.task}"
