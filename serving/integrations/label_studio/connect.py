"""Connects a project of Label Studio with the service, and takes the connection apart."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from models.errors import PrelabelError
from models.types import Task
from pipelines.errors import ConflictError
from pipelines.store.label_studio.connections import Connection, Connections
from pipelines.store.store import Store
from serving.client import AsyncClient
from serving.integrations.label_studio.api import LabelStudio
from serving.integrations.label_studio.call import bound
from serving.integrations.label_studio.errors import LabelStudioError
from serving.integrations.label_studio.labels import told_labels
from serving.settings import Settings

TITLE = "prelabel"
USER = "prelabel"  # of Basic auth; the service looks at the password alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What shall be connected: a project, by a token of one of its members, with the service at an address.

    ``service_url`` is how Label Studio reaches the service, ``api_key`` what admits it there.
    """

    url: str
    project_id: int
    token: str = field(repr=False)
    task: str
    service_url: str
    api_key: str | None = field(repr=False)
    is_automatic: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """What came of it; ``address`` is the backend's, which holds the connection's key.

    ``first_backend`` is the title of another backend that Label Studio asks, as it asks a project's first alone.
    """

    connection: Connection
    project: str
    task: str
    address: str = field(repr=False)
    tasks: int
    missing_labels: tuple[str, ...]
    first_backend: str | None = None


async def connect(order: Order, settings: Settings, store: Store) -> Connected:
    """Make the service a backend of the project, with a webhook, in place of what it was there before.

    Annotators then see its predictions. Nothing of it stays where Label Studio does not reach the service.

    Raises:
        UnservableError: the project's labeling config fits no model.
        LabelStudioError: Label Studio is not reached, does not take the token, or does not reach the service.
        PrelabelError: we do not reach the service.
    """
    async with LabelStudio(order.url, token=order.token) as server:
        project = await server.project(order.project_id)
        given = await _told(order, settings)
        found = bound(settings, order.task, project.label_config, given=given.__getitem__)
        connections = Connections(store)
        await _refuse_another_name(server, connections, order)
        before = await connections.standing(server.url, order.project_id)
        connection, key = await connections.connect(
            server.url,
            order.project_id,
            task=order.task,
            token=order.token,
            is_automatic=order.is_automatic,
            service_url=order.service_url,
        )
        address = f"{order.service_url.rstrip('/')}/label-studio/{order.task}/{key}"
        try:
            await _add_backend(server, order, address, is_interactive=found.task == "segmentation")
        except LabelStudioError as err:
            await _undo(server, connections, connection, before, address=address)
            raise LabelStudioError(err.code, f"{err.message.replace(key, '…')}; {_advice(order)}") from err
        await _remove(server, connection, but=address)
        if f"{address}/webhook" not in {hook.url.rstrip("/") for hook in await server.webhooks(order.project_id)}:
            await server.create_webhook(order.project_id, url=f"{address}/webhook")
        await server.show_predictions_of(order.project_id, TITLE)
        backends = await server.backends(order.project_id)
        return Connected(
            connection=connection,
            project=project.title,
            task=found.task,
            address=address,
            tasks=project.tasks,
            missing_labels=found.binding.missing_labels,
            first_backend=None if not backends or backends[0].url == address else backends[0].title,
        )


async def _told(order: Order, settings: Settings) -> dict[Task, tuple[str, ...]]:
    """By task the labels that the running service gives.

    Raises:
        PrelabelError: it is not reached, or does not admit us.
    """
    try:
        async with AsyncClient(order.service_url, api_key=order.api_key) as client:
            return await told_labels(settings, client)
    except PrelabelError as err:
        hint = "give a key of its server.api_keys with --api-key" if err.code == "unauthorized" else "is it running?"
        raise PrelabelError(
            err.code, f"the service at {order.service_url} does not serve us: {err.message}; {hint}"
        ) from err


async def _add_backend(server: LabelStudio, order: Order, address: str, *, is_interactive: bool) -> None:
    await server.create_backend(
        order.project_id,
        url=address,
        title=TITLE,
        basic_auth=None if order.api_key is None else (USER, order.api_key),
        is_interactive=is_interactive,
    )


async def _refuse_another_name(server: LabelStudio, connections: Connections, order: Order) -> None:
    """Make sure that the project is not connected already under another spelling of its server's address.

    Both would label it, and take each answer twice.

    Raises:
        ConflictError: it is (already_connected).
    """
    urls = [backend.url for backend in await server.backends(order.project_id)]
    for other in await connections.all():
        is_same = (other.url, other.project_id) == (server.url, order.project_id)
        if not is_same and any(_is_of(url, other) for url in urls):
            message = f"the project is connected already, as {other.name}; disconnect that first, or name it so"
            raise ConflictError("already_connected", message)


async def _undo(
    server: LabelStudio,
    connections: Connections,
    connection: Connection,
    before: Mapping[str, Any] | None,
    *,
    address: str,
) -> None:
    """Leave everything as it was. Label Studio keeps a backend whose webhook it refuses."""
    if before is None:
        await connections.disconnect(connection.id)
    else:
        await connections.put_back(before)
    with suppress(LabelStudioError):
        for backend in await server.backends(connection.project_id):
            if backend.url == address:
                await server.delete_backend(backend.id)


def _advice(order: Order) -> str:
    where = f"--project {order.project_id} --url {order.url} --service {order.service_url} --token …"
    return f"'prelabel doctor label-studio {where}' finds out why"


async def disconnect(connection: Connection, store: Store) -> bool:
    """Take the backend and its webhooks away, and forget the connection; whether Label Studio was reached for that."""
    is_reached = True
    try:
        async with LabelStudio(connection.url, token=connection.token) as server:
            await _remove(server, connection)
    except LabelStudioError:
        is_reached = False
    await Connections(store).disconnect(connection.id)
    return is_reached


async def _remove(server: LabelStudio, connection: Connection, *, but: str | None = None) -> None:
    """Take away the connection's backends and webhooks, with whatever key."""

    def is_old(url: str) -> bool:
        return _is_of(url, connection) and (but is None or not url.startswith(but))

    for backend in await server.backends(connection.project_id):
        if is_old(backend.url):
            await server.delete_backend(backend.id)
    for hook in await server.webhooks(connection.project_id):
        if is_old(hook.url):
            await server.delete_webhook(hook.id)


def _is_of(url: str, connection: Connection) -> bool:
    """Whether an address is that of a connection, with whatever key."""
    return "/label-studio/" in url and f"/{connection.id}-" in url
