"""Connects a project of Label Studio with the service, and takes the connection apart."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipelines.errors import NotFoundError
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
_ADVICE = "'prelabel doctor label-studio' finds out why"


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
    """What came of it; ``address`` is the backend's, which holds the connection's key."""

    connection: Connection
    project: str
    task: str
    address: str = field(repr=False)
    tasks: int
    missing_labels: tuple[str, ...]


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
        async with AsyncClient(order.service_url, api_key=order.api_key) as client:
            given = await told_labels(settings, client)
        found = bound(settings, order.task, project.label_config, given=given.__getitem__)
        connections = Connections(store)
        was_connected = await _is_connected(connections, server.url, order.project_id)
        connection, key = await connections.connect(
            server.url, order.project_id, task=order.task, token=order.token, is_automatic=order.is_automatic
        )
        address = f"{order.service_url.rstrip('/')}/label-studio/{order.task}/{key}"
        try:
            await server.create_backend(
                order.project_id,
                url=address,
                title=TITLE,
                basic_auth=None if order.api_key is None else (USER, order.api_key),
                is_interactive=found.task == "segmentation",
            )
        except LabelStudioError as err:
            if not was_connected:
                await connections.disconnect(connection.id)
            raise LabelStudioError(err.code, f"{err.message.replace(key, '…')}; {_ADVICE}") from err
        await _remove(server, connection, but=address)
        if f"{address}/webhook" not in {hook.url.rstrip("/") for hook in await server.webhooks(order.project_id)}:
            await server.create_webhook(order.project_id, url=f"{address}/webhook")
        await server.show_predictions_of(order.project_id, TITLE)
        return Connected(
            connection=connection,
            project=project.title,
            task=found.task,
            address=address,
            tasks=project.tasks,
            missing_labels=found.binding.missing_labels,
        )


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


async def _is_connected(connections: Connections, url: str, project_id: int) -> bool:
    try:
        await connections.of_project(url, project_id)
    except NotFoundError:
        return False
    return True


async def _remove(server: LabelStudio, connection: Connection, *, but: str | None = None) -> None:
    """Take away the connection's backends and webhooks, with whatever key."""

    def is_old(url: str) -> bool:
        is_ours = "/label-studio/" in url and f"/{connection.id}-" in url
        return is_ours and (but is None or not url.startswith(but))

    for backend in await server.backends(connection.project_id):
        if is_old(backend.url):
            await server.delete_backend(backend.id)
    for hook in await server.webhooks(connection.project_id):
        if is_old(hook.url):
            await server.delete_webhook(hook.id)
