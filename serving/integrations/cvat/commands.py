"""Gives the command line its commands for CVAT: label a task, make a function there, work for it."""

from __future__ import annotations

import logging
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from models.errors import ConfigError
from serving.client import Client
from serving.integrations.cvat.agent import Agent
from serving.integrations.cvat.annotate import FailedFrame, Report, annotate_task
from serving.integrations.cvat.function_queue import FunctionQueue, Kind, register
from serving.integrations.cvat.image_task import PATIENT_ATTEMPTS, PATIENT_S, image_task
from serving.integrations.cvat.interactor import ServiceInteractor
from serving.integrations.cvat.label import ANY, Label, read_labels
from serving.integrations.cvat.pause import Pauses
from serving.integrations.cvat.request import Worker
from serving.integrations.cvat.server import CvatServer
from serving.integrations.cvat.shape import Wanted
from serving.integrations.cvat.work import Watch, Work
from serving.terminal import AsJson, print_json

cvat_app = typer.Typer(no_args_is_help=True, help="Label tasks of CVAT, and work for functions that it offers.")

CvatUrl = Annotated[str, typer.Option("--cvat", help="The CVAT server.", show_default=False)]
Url = Annotated[str, typer.Option(help="The running service.")]
TaskName = Annotated[str, typer.Option("--task", help="detection or segmentation.")]
Token = Annotated[
    str, typer.Option(envvar="CVAT_ACCESS_TOKEN", help="A personal access token of CVAT.", show_default=False)
]
Key = Annotated[
    str | None, typer.Option("--api-key", envvar="PRELABEL_API_KEY", help="The service's API key.", show_default=False)
]
Organization = Annotated[str | None, typer.Option("--org", help="The CVAT organization's short name.")]
_SERVICE = "http://127.0.0.1:8000"


@cvat_app.command()
def annotate(
    task_id: Annotated[int, typer.Argument(metavar="TASK", help="The task's number in CVAT.", show_default=False)],
    cvat: CvatUrl,
    token: Token,
    url: Url = _SERVICE,
    key: Key = None,
    task: TaskName = "detection",
    rename: Annotated[
        list[str] | None, typer.Option(help="OURS=THEIRS: a label of the models and CVAT's name for it.")
    ] = None,
    conf_threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Leave out what is less certain.", show_default=False)
    ] = None,
    conv_mask_to_poly: Annotated[bool, typer.Option(help="Store polygons in place of masks.")] = False,
    clear_existing: Annotated[bool, typer.Option(help="Remove what is annotated already.")] = False,
    organization: Organization = None,
    as_json: AsJson = False,
) -> None:
    """Label all frames of a task and store the shapes in CVAT. A frame that fails is listed; the others are stored.

    Give secrets by the environment (CVAT_ACCESS_TOKEN, PRELABEL_API_KEY): other users see a command's words.
    """
    with CvatServer(cvat, token=token, organization=organization) as server, _client(url, key) as client:
        report = annotate_task(
            server,
            task_id,
            client,
            task=image_task(task),
            wanted=Wanted(conf_threshold=conf_threshold, conv_mask_to_poly=conv_mask_to_poly),
            renamed=_pairs(rename or []),
            clear_existing=clear_existing,
        )
    _print(report, as_json)
    if report.failed and len(report.failed) == report.frames:
        raise typer.Exit(1)


@cvat_app.command(name="register")
def register_function(
    name: Annotated[str, typer.Argument(help="What CVAT's users see.")],
    cvat: CvatUrl,
    token: Token,
    labels: Annotated[str, typer.Option(help="The models' labels, with commas between; for a detector.")] = "",
    shape: Annotated[str, typer.Option(help="any, rectangle, polygon, mask or tag: what the labels are.")] = ANY,
    interactor: Annotated[bool, typer.Option(help="A function that outlines what a person clicks on.")] = False,
    public: Annotated[bool, typer.Option(help="For everybody on the server, not for this account alone.")] = False,
    organization: Organization = None,
) -> None:
    """Make a function in CVAT, and print its number for 'prelabel cvat agent'."""
    kind: Kind = "interactor" if interactor else "detector"
    names = list(dict.fromkeys(one.strip() for one in labels.split(",") if one.strip()))
    if kind == "detector" and not names:
        raise ConfigError("a detector needs labels; name those that its models give: --labels cat,dog")
    own = [Label(id=place, name=one, type=shape) for place, one in enumerate(names)]
    with CvatServer(cvat, token=token, organization=organization) as server:
        typer.echo(register(server, name, kind=kind, labels=own, is_public=public))


@cvat_app.command()
def agent(
    function_id: Annotated[int, typer.Argument(metavar="FUNCTION", help="The function's number in CVAT.")],
    cvat: CvatUrl,
    token: Token,
    url: Url = _SERVICE,
    key: Key = None,
    task: TaskName = "detection",
    burst: Annotated[bool, typer.Option(help="End when no request is left.")] = False,
    organization: Organization = None,
) -> None:
    """Do what CVAT's users ask of a function, with the models of a running service, until stopped."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with (
        CvatServer(cvat, token=token, organization=organization) as server,
        _client(url, key) as client,
        ServiceInteractor(url, api_key=key) as outlines,
    ):
        queue = FunctionQueue(server, function_id, agent_id=secrets.token_hex(16))
        function = queue.function()
        labels = read_labels(function.get("labels_v2") or ())
        worker = Worker(server=server, pre_labels=client, outlines=outlines, task=image_task(task), labels=labels)
        work = Work()
        own = Agent(queue, worker, work)
        with _stopping(own):
            if burst:
                own.run(is_burst=True)
                return
            with Watch(queue, work, pauses=Pauses(most_s=600.0)):
                own.run()


@contextmanager
def _stopping(agent: Agent) -> Iterator[None]:
    """End the agent in order on the signals by which processes are ended."""
    before = {one: signal.signal(one, lambda *_: agent.stop()) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _client(url: str, key: str | None) -> Client:
    return Client(url, api_key=key, timeout_s=PATIENT_S, attempts=PATIENT_ATTEMPTS)


def _pairs(renamed: list[str]) -> dict[str, str]:
    pairs = [one.partition("=") for one in renamed]
    if wrong := [ours for ours, sign, theirs in pairs if not (ours and sign and theirs)]:
        raise ConfigError(f"--rename is OURS=THEIRS; got {wrong[0]!r}")
    return {ours: theirs for ours, _, theirs in pairs}


def _print(report: Report, as_json: bool) -> None:
    if as_json:
        print_json(_facts(report))
        return
    typer.echo(f"{report.frames} frames: {report.shapes} shapes, {report.tags} tags; {len(report.failed)} failed")
    for frame in report.failed:
        typer.echo(f"  frame {frame.index} ({frame.name}): {frame.code}: {frame.message}")
    for what, number in report.left_out.most_common():
        typer.echo(f"  left out: {number} {what}")


def _facts(report: Report) -> dict[str, object]:
    failed = [_failed(frame) for frame in report.failed]
    left_out = dict(report.left_out)
    return {
        "frames": report.frames,
        "shapes": report.shapes,
        "tags": report.tags,
        "failed": failed,
        "left_out": left_out,
    }


def _failed(frame: FailedFrame) -> dict[str, object]:
    return {"index": frame.index, "name": frame.name, "code": frame.code, "message": frame.message}
