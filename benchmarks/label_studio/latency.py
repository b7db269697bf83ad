"""Asks for health and setup at fixed moments while the service labels as much as it can, and counts how long it took.

Label Studio asks both before every other call: it takes a backend for gone that does not answer ``/health`` within a
second (three tries), and refuses to add one that does not answer ``/setup`` within three.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from benchmarks import load, processes, stolen
from benchmarks.label_studio import platform, subject, tasks
from benchmarks.label_studio.killable import Killable, killable
from benchmarks.label_studio.platform import Platform, Project
from benchmarks.load import Answers, Load
from benchmarks.open_loop import Counted, Plan, sending

SECONDS, QUICK_SECONDS = 300.0, 30.0
PATIENCE_S = 30.0
PROBES_PER_S = 10.0  # of each kind
# Together as many items as a model takes of bulk work at a time (three quarters of its queue of 512): more would be
# refused, which costs little.
PREDICT_TASKS, PRE_LABEL_ITEMS = 1_000, 128
_BODIES = 8
_WARM_UP_S = 5.0
_LOOK_S = 2.0
_LOOKS_PER_LOOK_OF_LABEL_STUDIO = 5

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The model's engine, and the processor time that programs had taken, at a moment of the monotonic clock."""

    at_s: float
    in_flight: int
    waiting: int
    items: int
    cpu_s: dict[str, float]
    used_s: float
    stolen_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """What the probes got, and how busy the service was meanwhile.

    Attributes:
        predict: the calls to ``/predict`` of 1,000 tasks, one at a time.
        pre_label: those to ``/v1/prelabel`` of 128 texts, one at a time.
        connected: for each look that Label Studio itself took at its backend, whether it found it connected.
    """

    release: str
    seconds: float
    health: Counted
    setup: Counted
    predict: Answers
    pre_label: Answers
    looks: tuple[Look, ...]
    connected: tuple[bool, ...]


def measure(*, quick: bool, progress: Progress) -> Latency:
    """Half a minute or five, behind the default ingress, with the address of a connected project.

    Raises:
        LabelStudioMissing: Label Studio's environment has not been built.
    """
    seconds = QUICK_SECONDS if quick else SECONDS
    with platform.running() as label_studio, killable(subject.configuration()) as service:
        progress(f"the service is ready after {service.start():.0f} s")
        project = label_studio.project("some texts", tasks.different_texts(10, name="latency"))
        service.connect(label_studio, project)
        progress(f"health and setup, {PROBES_PER_S:g} of each a second for {seconds:g} s, under load …")
        return _probed(label_studio, service, project, seconds)


def _probed(label_studio: Platform, service: Killable, project: Project, seconds: float) -> Latency:
    path = urlsplit(label_studio.backend_url(project)).path
    setup = tasks.setup_body(project=project.uid, hostname=label_studio.url).decode()
    with ThreadPoolExecutor(2) as threads:
        busy = [threads.submit(load.send, one) for one in loads(service.address, seconds + 4 * _WARM_UP_S)]
        time.sleep(_WARM_UP_S)
        with (
            sending(_probe(service.address, f"{path}/health", seconds)) as health,
            sending(_probe(service.address, f"{path}/setup", seconds, setup)) as setups,
        ):
            looks, connected = _looks(label_studio, service, project, seconds)
            probes = health.counted(), setups.counted()
        predict, pre_label = (one.result() for one in busy)
    return Latency(
        release=label_studio.release(),
        seconds=seconds,
        health=probes[0],
        setup=probes[1],
        predict=predict,
        pre_label=pre_label,
        looks=tuple(looks),
        connected=tuple(connected),
    )


def loads(address: str, seconds: float) -> tuple[Load, Load]:
    """What keeps gateway and model busy, closed loop: large calls as Label Studio sends them, and large calls of ours.

    No two texts of a load are equal; a load that is through with its bodies begins again.
    """
    predict = [body.decode() for body in tasks.bodies(_BODIES, tasks=PREDICT_TASKS, name="predict")]
    given = tasks.different_texts(_BODIES * PRE_LABEL_ITEMS, name="pre-label")
    items = [{"id": str(number), "task": "ner", "text": text} for number, text in enumerate(given)]
    parts = [items[n * PRE_LABEL_ITEMS : (n + 1) * PRE_LABEL_ITEMS] for n in range(_BODIES)]
    pre_label = [json.dumps({"items": part, "priority": "bulk"}) for part in parts]
    return (
        Load(
            address=address,
            path="/label-studio/ner/predict",
            connections=1,
            bodies=tuple(predict),
            seconds=seconds,
            refused=",[]",  # a slot without a prediction
        ),
        Load(
            address=address,
            path="/v1/prelabel",
            connections=1,
            bodies=tuple(pre_label),
            seconds=seconds,
            refused='"failed"',
        ),
    )


def _probe(address: str, path: str, seconds: float, body: str | None = None) -> Plan:
    return Plan(
        address=address,
        path=path,
        requests=() if body is None else (("setup", body),),
        rate_per_s=PROBES_PER_S,
        seconds=seconds,
        connections=8,  # a late answer does not keep the next probe waiting
        deadline_s=seconds + PATIENCE_S,  # every probe is sent, however late, and tells how late
        patience_s=PATIENCE_S,
    )


def _looks(
    label_studio: Platform, service: Killable, project: Project, seconds: float
) -> tuple[list[Look], list[bool]]:
    """Looks at the service every two seconds, and what Label Studio's own every ten find."""
    looks, connected, end_s = list[Look](), list[bool](), time.monotonic() + seconds
    with httpx.Client(base_url=service.address, timeout=PATIENCE_S, trust_env=False) as client:
        while time.monotonic() < end_s:
            looks.append(_look(client, service))
            if len(looks) % _LOOKS_PER_LOOK_OF_LABEL_STUDIO == 1:
                connected.append(label_studio.is_connected(project))
            time.sleep(_LOOK_S)
    return looks, connected


def _look(client: httpx.Client, service: Killable) -> Look:
    [model] = client.get("/v1/models").raise_for_status().json()["models"]
    processor, usage = stolen.now(), processes.usage(service.pids())
    engine = model["engine"] or {}
    return Look(
        at_s=usage.at_s,
        in_flight=int(engine.get("in_flight", 0)),
        waiting=int(engine.get("waiting", 0)),
        items=int(engine.get("items", 0)),
        cpu_s=usage.cpu_s,
        used_s=processor.used_s,
        stolen_s=processor.stolen_s,
    )
