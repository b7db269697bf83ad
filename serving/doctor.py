"""Examines the machine and the configuration, and says what to do."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from models import cuda_libraries, profile_file, weights
from models.card import ModelCard
from models.errors import ConfigError, PrelabelError
from models.profile_file import Profile
from serving import listeners, profiles
from serving.settings import ServerSettings, Settings, check_port

_LIBRARIES = ("ray", "torch", "torchvision", "transformers", "segment-anything", "faster-whisper", "ctranslate2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at: ok, worth knowing (note), or in the way (bad)."""

    subject: str
    state: Literal["ok", "note", "bad"]
    text: str


def examine(settings: Settings) -> list[Finding]:
    """Look at everything that a start needs; starts nothing that stays."""
    measured = list(profile_findings(settings))
    if all(finding.state != "bad" for finding in measured):
        settings = profiles.profiled(settings)
    return [
        _accelerator(settings),
        *_gpu_shares(settings),
        *_libraries(),
        *speech_libraries(settings),
        *(weights_finding(card, settings.lock_file) for card in settings.models),
        *measured,
        _store(settings),
        *_ports(settings.server),
    ]


def weights_finding(card: ModelCard, lock_file: Path) -> Finding:
    """Whether a card's weights are here, and as locked."""
    lock = weights.read_locks(lock_file).get(weights.key(card))
    try:
        digest = weights.find(card, lock=lock).digest[:12]
    except PrelabelError as err:
        return Finding(subject=card.name, state="bad", text=err.message)
    if lock is None:
        return Finding(subject=card.name, state="note", text=f"{digest}, not locked; run 'prelabel models pull'")
    return Finding(subject=card.name, state="ok", text=f"{digest}, as locked")


def profile_findings(settings: Settings) -> Iterator[Finding]:
    """Which models run with measured limits; one that was never measured is not worth a word."""
    try:
        found = profile_file.read(settings.profile_file)
    except ConfigError as err:
        yield Finding(subject="profiles", state="bad", text=err.message)
        return
    for card in settings.models:
        if profile := found.get(weights.key(card)):
            yield _profile_finding(card, profile, settings)


def _profile_finding(card: ModelCard, profile: Profile, settings: Settings) -> Finding:
    if problem := profiles.staleness(card, profile, settings.lock_file):
        text = f"its measured limits are not used: {problem}; {profiles.advice(card)}"
        return Finding(subject=card.name, state="note", text=text)
    used = profiles.taken_over(card, profile, stated=settings.stated(card))
    share = f", {used.num_gpus:g} of a GPU" if used.num_gpus else ""
    text = f"measured on {profile.device}; runs with batches of {used.limits.max_items} items"
    return Finding(subject=card.name, state="ok", text=f"{text} and cost {used.limits.max_cost:g}{share}")


def _gpu_shares(settings: Settings) -> Iterator[Finding]:
    """Whether the models' shares fit the GPUs; without any, the accelerator's finding says so."""
    import torch

    gpus = torch.cuda.device_count()
    if gpus and (shortage := profiles.gpu_shortage(settings.models, gpus=gpus)):
        yield Finding(subject="GPU shares", state="bad", text=shortage)


def _accelerator(settings: Settings) -> Finding:
    import torch

    if torch.cuda.is_available():
        name, memory = torch.cuda.get_device_name(), torch.cuda.get_device_properties(0).total_memory
        return Finding(subject="accelerator", state="ok", text=f"{name}, {memory / 2**30:.0f} GiB")
    wanting = [card.name for card in settings.models if card.num_gpus or card.device == "cuda"]
    if wanting:
        text = f"torch finds no CUDA device, and these models reserve one: {', '.join(wanting)}; install a driver that "
        return Finding(subject="accelerator", state="bad", text=text + "fits torch, or set num_gpus: 0 and device: cpu")
    text = f"none; models run on the CPU ({torch.get_num_threads()} threads)"
    return Finding(subject="accelerator", state="note", text=text)


def _libraries() -> Iterator[Finding]:
    names = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    yield Finding(subject="libraries", state="ok", text=f"Python {platform.python_version()}, {names}")
    try:
        from torchvision.ops import nms  # a torchvision that does not fit torch fails here
    except (ImportError, RuntimeError) as err:
        text = f"torchvision does not fit torch ({err}); install both from the same index"
        yield Finding(subject="libraries", state="bad", text=text)
    else:
        del nms


def speech_libraries(
    settings: Settings, *, missing: Callable[[], Sequence[str]] = cuda_libraries.missing
) -> Iterator[Finding]:
    """What CTranslate2 lacks on this machine's GPU; nothing where there is none, or no speech."""
    speaks = any(card.adapter == "faster_whisper" and card.device != "cpu" for card in settings.models)
    if speaks and (names := missing()):
        text = f"speech stays on the CPU: {', '.join(names)} cannot be opened; {cuda_libraries.ADVICE}"
        yield Finding(subject="libraries", state="note", text=text)


def _store(settings: Settings) -> Finding:
    from pipelines.store.store import Store
    from serving.service import store_url

    async def open_store(url: str) -> int:
        async with Store.open(url) as store:
            return sum(queue.pending for queue in await store.queues())

    kind = "PostgreSQL by URL" if settings.store.url else f"embedded PostgreSQL in {settings.store.folder}"
    try:
        with store_url(settings) as url:
            pending = asyncio.run(open_store(url))
    except PrelabelError as err:
        return Finding(subject="store", state="bad", text=err.message)
    return Finding(subject="store", state="ok", text=f"{kind}; {pending} reviews pending")


def _ports(server: ServerSettings) -> Iterator[Finding]:
    """What is open to whom: as it would be after a start, or as it is while a service runs."""
    running = listeners.owner(server.port, program="prelabel")
    if running is None:
        yield _front(server)
        yield from _inner_ports(server)
        return
    listening = listeners.of_tree(running)
    text = f"{server.host}:{server.port} is served by prelabel already (process {running})"
    yield Finding(subject="port", state="bad", text=f"{text}; end it, or set server.port")
    inside = sum(listener.is_loopback for listener in listening)
    yield Finding(subject="ports", state="ok", text=f"{inside} are open to this machine only")
    for listener in listening:
        if not listener.is_loopback:
            text = f"{listener.port} of {listener.process} (process {listener.pid}) is open on {listener.address}"
            yield Finding(subject="ports", state="note", text=text)


def _front(server: ServerSettings) -> Finding:
    try:
        check_port(server)
    except ConfigError as err:
        return Finding(subject="port", state="bad", text=err.message)
    who = "this machine only" if server.is_loopback else "everybody who reaches it, with an API key"
    text = f"{server.host}:{server.port} is free; open to {who}, by {server.ingress}"
    return Finding(subject="port", state="ok", text=text)


def _inner_ports(server: ServerSettings) -> Iterator[Finding]:
    inside = "Ray's cluster, workers and metrics"
    if server.ingress == "haproxy":
        inside += "; the way from HAProxy to the replicas (some ports between 20000 and 32000)"
    yield Finding(subject="ports", state="ok", text=f"open to this machine only: {inside}")
    text = (
        "each replica takes calls of other replicas on one port of all interfaces, which Ray Serve 2.60 cannot narrow; "
        "it asks for Ray's token (~/.ray/auth_token) before it reads anything; a firewall keeps strangers off"
    )
    yield Finding(subject="ports", state="note", text=text)
