"""Gives the command line its commands for projects of Label Studio."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, TypeVar

import typer

from models.errors import ConfigError
from pipelines.errors import NotFoundError
from pipelines.platform_answers import PlatformAnswers
from pipelines.store.label_studio.connections import Connection, Connections
from pipelines.store.label_studio.deliveries import Deliveries
from pipelines.store.store import Store
from serving import settings as configuration
from serving.doctor import Finding
from serving.drops.commands import with_store
from serving.integrations.label_studio.api import LabelStudio
from serving.integrations.label_studio.call import AUTO
from serving.integrations.label_studio.connect import Connected, Order
from serving.integrations.label_studio.connect import connect as connected
from serving.integrations.label_studio.connect import disconnect as disconnected
from serving.integrations.label_studio.diagnosis import Patient, diagnose
from serving.integrations.label_studio.follow import Follower
from serving.integrations.label_studio.publish import Published, Publisher
from serving.integrations.label_studio.version import Version
from serving.settings import Settings
from serving.terminal import AsJson, Config, notes, print_json, print_rows, screen

label_studio_app = typer.Typer(
    no_args_is_help=True, help="Projects of Label Studio: connect them, send pre-labels, take the reviews."
)

T = TypeVar("T")
Project = Annotated[int, typer.Option("--project", "-p", help="The number in the project's address.", min=1)]
Url = Annotated[
    str | None, typer.Option(help="Where Label Studio is; needed where two have this project.", show_default=False)
]
Token = Annotated[
    str | None,
    typer.Option(
        envvar="LABEL_STUDIO_TOKEN",
        help="A personal access token, or a legacy one; asked for if not given.",
        show_default=False,
    ),
]


@label_studio_app.command()
def connect(
    url: Annotated[str, typer.Argument(help="Where Label Studio is.", show_default=False)],
    project: Project,
    task: Annotated[
        str, typer.Option(help="detection, segmentation, ner, speech, or auto: by the labeling config.")
    ] = AUTO,
    service: Annotated[
        str | None,
        typer.Option(help="How Label Studio reaches the service; else its host and port.", show_default=False),
    ] = None,
    token: Token = None,
    api_key: Annotated[
        str | None,
        typer.Option(envvar="PRELABEL_API_KEY", help="An API key of the service, if it has any.", show_default=False),
    ] = None,
    is_automatic: Annotated[
        bool, typer.Option("--automatic/--on-demand", help="Label tasks as they come, or when Label Studio asks.")
    ] = True,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make the service a backend of a project, with webhooks; it must be running. Again: with a new address."""
    settings = configuration.load(config)
    if settings.server.api_keys and api_key is None:
        raise ConfigError("the service has API keys; give Label Studio one with --api-key ('prelabel key' makes one)")
    order = Order(
        url=url,
        project_id=project,
        token=token or typer.prompt("Label Studio token (Account & Settings)", hide_input=True, err=True),
        task=task,
        service_url=service or _service_url(settings),
        api_key=api_key,
        is_automatic=is_automatic,
    )
    done = with_store(config, lambda store: connected(order, settings, store))
    if as_json:
        print_json(_facts(done))
        return
    _tell(done, is_automatic=is_automatic)


@label_studio_app.command("list")
def list_projects(config: Config = None, as_json: AsJson = False) -> None:
    """Show the connected projects, and where the predictions for their tasks are."""
    rows = with_store(config, _projects)
    if as_json:
        print_json(rows)
    else:
        print_rows(rows)


@label_studio_app.command()
def disconnect(project: Project, url: Url = None, config: Config = None) -> None:
    """Take the backend and its webhooks out of a project, and forget its token; pre-labels and reviews stay."""

    async def work(store: Store) -> tuple[Connection, bool]:
        connection = await _connection(store, project, url)
        return connection, await disconnected(connection, store)

    connection, is_reached = with_store(config, work)
    notes.print(f"{connection.name} is not connected any more", highlight=False, soft_wrap=True)
    if not is_reached:
        notes.print("it was not reached: delete the backend and its webhook there by hand", soft_wrap=True)


@label_studio_app.command()
def push(
    run: Annotated[str, typer.Argument(help="The run's id, as 'prelabel runs list' shows it.", show_default=False)],
    project: Project,
    url: Url = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Put a run's items with their pre-labels into a project; over an export of it, onto the tasks that are there.

    Each item is put there once, however often it is asked for.
    """

    async def work(publisher: Publisher, store: Store) -> Published:
        return await publisher.push(await store.run(run))

    _tell_published(_publish(config, project, url, work), as_json=as_json)


@label_studio_app.command()
def mirror(
    queue: Annotated[str, typer.Argument(help="The queue, as 'prelabel queue' shows it.", show_default=False)],
    project: Project,
    url: Url = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Put what waits in a review queue into a project, with priority, reason and uncertainty to sort by.

    What is answered there answers the review.
    """

    async def work(publisher: Publisher, _: Store) -> Published:
        return await publisher.mirror(queue)

    _tell_published(_publish(config, project, url, work), as_json=as_json)


@label_studio_app.command()
def pull(project: Project, url: Url = None, config: Config = None, as_json: AsJson = False) -> None:
    """Take over every answer of a project as it is now; a running service does so by itself as answers come."""
    settings = configuration.load(config)

    async def work(store: Store) -> dict[str, int]:
        connection = await _connection(store, project, url)
        async with LabelStudio(connection.url, token=connection.token) as server:
            follower = Follower(
                settings,
                version=lambda task: Version(name=task),
                given=lambda _: (),
                store=store,
                connection=connection,
                server=server,
            )
            seen = await follower.pull(await server.project(project))
        return {"tasks": seen, "answers": await PlatformAnswers(store).count(f"label-studio:{connection.id}:")}

    counts = with_store(config, work)
    if as_json:
        print_json(counts)
    else:
        screen.print(f"{counts['tasks']} tasks looked at; {counts['answers']} answers stand", highlight=False)


def findings_of(
    config: str | None, project: int, *, url: str | None, token: str | None, service: str | None, api_key: str | None
) -> list[Finding]:
    """What stands between a project and the service ("prelabel doctor label-studio")."""
    settings = configuration.load(config)
    patient = Patient(
        project_id=project,
        url=url,
        token=token,
        service_url=service,
        api_key=api_key,
    )
    return with_store(config, lambda store: diagnose(patient, settings, store))


def _service_url(settings: Settings) -> str:
    return f"http://{settings.server.host}:{settings.server.port}"


async def _connection(store: Store, project: int, url: str | None) -> Connection:
    """The connection of a project.

    Raises:
        NotFoundError: none is connected, or several are and the URL is missing.
    """
    found = [
        one
        for one in await Connections(store).all()
        if one.project_id == project and url in (None, one.url, f"{one.url}/")
    ]
    if len(found) == 1:
        return found[0]
    if found:
        places = " and ".join(one.url for one in found)
        raise NotFoundError(message=f"project {project} is connected of {places}; say which with --url")
    raise NotFoundError(message=f"project {project} is not connected; 'prelabel label-studio connect' does it")


def _publish(config: str | None, project: int, url: str | None, work: Callable[[Publisher, Store], Awaitable[T]]) -> T:
    settings = configuration.load(config)

    async def opened(store: Store) -> T:
        connection = await _connection(store, project, url)
        async with LabelStudio(connection.url, token=connection.token) as server:
            return await work(await _publisher(settings, store, connection, server), store)

    return with_store(config, opened)


async def _publisher(settings: Settings, store: Store, connection: Connection, server: LabelStudio) -> Publisher:
    return Publisher(settings, store, connection, server, await server.project(connection.project_id))


async def _projects(store: Store) -> list[dict[str, Any]]:
    return [
        {
            "project": one.project_id,
            "url": one.url,
            "task": one.task,
            "labels": "as tasks come" if one.is_automatic else "on demand",
            **_counts(await Deliveries(store, one.id).counts()),
        }
        for one in await Connections(store).all()
    ]


def _counts(counts: dict[str, int]) -> dict[str, int]:
    there = sum(counts.get(state, 0) for state in ("promised", "answered", "delivered"))
    return {"owed": counts.get("open", 0) + counts.get("pushing", 0), "there": there, "failed": counts.get("failed", 0)}


def _facts(done: Connected) -> dict[str, Any]:
    return {
        "connection": done.connection.id,
        "project": done.project,
        "task": done.task,
        "tasks": done.tasks,
        "missing_labels": list(done.missing_labels),
        "first_backend": done.first_backend,
    }


def _tell(done: Connected, *, is_automatic: bool) -> None:
    lines: Sequence[str] = [
        f"'{done.project}' is connected for {done.task}; Label Studio reaches the service.",
        f"Its {done.tasks} tasks are labelled now, new ones as they come; 'prelabel label-studio list' shows how far."
        if is_automatic
        else "Tasks are labelled when someone opens them, or chooses 'Retrieve Predictions' in the Data Manager.",
    ]
    if done.first_backend is not None:
        warning = f"Label Studio asks only the first model, '{done.first_backend}'; delete it in Settings → Model."
        lines = [*lines, warning]
    if done.missing_labels:
        lines = [*lines, f"Its labels lack {', '.join(done.missing_labels)}: what bears these is not shown."]
    for line in lines:
        screen.print(line, highlight=False, markup=False, soft_wrap=True)


def _tell_published(done: Published, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "made": done.made,
                "there": done.there,
                "predicted": done.predicted,
                "left_out": dict(done.left_out),
            }
        )
        return
    if not (done.predicted or done.made or done.there or done.left_out):
        screen.print("there is nothing to put there", highlight=False)
    if done.predicted:
        screen.print(f"{done.predicted} tasks get their predictions from the running service", highlight=False)
    if done.made or done.there:
        screen.print(f"{done.made} tasks made, {done.there} were there already", highlight=False)
    for what, count in done.left_out.items():
        screen.print(f"left out: {count} {what}", highlight=False, markup=False)
