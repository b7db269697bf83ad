"""Reads the one configuration file and the environment; nothing else in the product does."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from models.card import BatchLimits, ModelCard, card_from, read_card
from models.errors import ConfigError
from models.media import MediaLimits
from models.types import Task
from pipelines.corrections.acceptable import ACCEPTABLE, Acceptable
from pipelines.disagreement import Disagreement, Extras, extras_of
from pipelines.fetch import FetchPolicy
from pipelines.ontology import Ontology
from pipelines.ontology import read as read_ontology
from pipelines.policy import ThresholdPolicy
from pipelines.policy.terms import Terms
from pipelines.sanity import SanityRules
from pipelines.standards import Standards
from pipelines.tasks import CHAINS, TaskCard
from serving.auth import KeyRing

PRESETS = Path(__file__).parent / "presets"
DEFAULT_FILE = Path("prelabel.yaml")


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ServerSettings(Section):
    """Where the service listens and what a request may be.

    ``api_keys`` holds the lines that ``prelabel key`` prints: a key's id and the sha256 of its secret. Without any,
    the service answers everybody, and therefore starts on loopback addresses only. ``ingress`` is what stands before
    the gateways: Serve's own proxy, or HAProxy with Serve's throughput mode (Linux only). Each of the ``gateways`` is
    a process that reads, stores and answers calls; equal items in flight are computed once per gateway, and each has
    at most ``max_calls`` calls with items in work at the same time, with bodies of at most ``max_bodies_bytes``; others
    are refused with 429. A model that dies ``max_crashes`` times within ten minutes is not started again. Of the posted
    runs over drops ``max_runs`` are worked on at a time; 0 leaves them to other services on this store, and serves
    connected projects all the same.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    ingress: Literal["proxy", "haproxy"] = "proxy"
    gateways: int = Field(default=1, ge=1, le=64)
    api_keys: tuple[str, ...] = ()
    max_body_bytes: int = Field(default=64 * 2**20, gt=0)
    max_calls: int = Field(default=256, gt=0)  # at 2 ms of the gateway's processor for each, half a second of work
    max_bodies_bytes: int = Field(default=2**30, gt=0)
    max_json_depth: int = Field(default=32, gt=0)
    max_items: int = Field(default=1_000, gt=0)
    default_deadline_s: float = Field(default=60.0, gt=0)
    max_deadline_s: float = Field(default=600.0, gt=0)
    max_crashes: int = Field(default=3, gt=0)
    max_runs: int = Field(default=2, ge=0, le=16)

    @property
    def is_loopback(self) -> bool:
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @field_validator("api_keys")
    @classmethod
    def _keys_are_readable(cls, lines: tuple[str, ...]) -> tuple[str, ...]:
        KeyRing(lines)
        return lines

    @model_validator(mode="after")
    def _needs_keys_in_public(self) -> ServerSettings:
        if not self.is_loopback and not self.api_keys:
            raise ValueError(
                f"a service on {self.host} is open to others and needs api_keys; make one with 'prelabel key', "
                "or listen on 127.0.0.1"
            )
        return self


class StoreSettings(Section):
    """Which PostgreSQL keeps the results: a URL, or an embedded one whose files lie in ``folder``.

    What a model has answered is reused for ``reuse_days`` where content, prompts, weights and configuration are the
    same; 0 computes everything anew, which is what an audit needs. A run over a drop waits ``patience_s`` seconds for a
    store that does not answer, and ends then; it can be resumed.
    """

    url: str | None = None
    reuse_days: float = Field(default=0.0, ge=0)
    patience_s: float = Field(default=60.0, ge=0)
    folder: Path = Field(default=Path("~/.prelabel/store"), validate_default=True)

    @field_validator("folder")
    @classmethod
    def _is_absolute(cls, folder: Path) -> Path:
        return folder.expanduser().absolute()


class LabelStudioSettings(Section):
    """How projects of Label Studio are answered.

    ``answer_s`` is how long a call to ``/predict`` may take, the answer's way not counted: Label Studio waits for 100 s
    (ML_TIMEOUT_PREDICT), a proxy before it perhaps for less. Up to ``few_tasks`` of a connected project are labelled in
    the gateway, more become a run. What is made for a call is pushed ``margin_s`` after its deadline at the earliest,
    if no answer has brought it. Every ``poll_s`` seconds a connected project is looked at for what its webhooks have
    lost.
    """

    answer_s: float = Field(default=85.0, gt=0, le=600)
    few_tasks: int = Field(default=16, ge=0, le=1_000)
    margin_s: float = Field(default=20.0, ge=0)
    poll_s: float = Field(default=60.0, gt=0)


def _ontology_of(value: object) -> object:
    if isinstance(value, str | Path):
        return read_ontology(Path(value).expanduser())
    if value is None or isinstance(value, Ontology):
        return value
    raise ValueError(f"wanted the path of an ontology's file; got {type(value).__name__}")


class Settings(BaseSettings):
    """Everything that can be configured; ``PRELABEL_SECTION__KEY`` in the environment overrides the file.

    A task's ``policies`` are the thresholds that decide until a policy has been certified under the terms of its
    ``certificates`` and activated. Its ``extras`` are signs of doubt for which models are asked once more.
    ``ontology`` is given as a file's path and read at once, so that every process that these settings are sent to has
    the same, on machines without the file too.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="PRELABEL_", env_nested_delimiter="__", protected_namespaces=()
    )

    models: tuple[ModelCard, ...]
    tasks: dict[Task, tuple[str, ...]]
    policies: dict[Task, ThresholdPolicy]
    certificates: dict[Task, Terms] = Field(default_factory=dict)
    extras: dict[Task, Extras] = Field(default_factory=dict)
    server: ServerSettings = ServerSettings()
    store: StoreSettings = StoreSettings()
    label_studio: LabelStudioSettings = LabelStudioSettings()
    fetch: FetchPolicy = FetchPolicy()
    media: MediaLimits = MediaLimits()
    sanity: SanityRules = SanityRules()
    ontology: Annotated[Ontology | None, NoDecode, BeforeValidator(_ontology_of)] = None
    lock_file: Path
    _stated: dict[str, frozenset[str]] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings

    @field_validator("models")
    @classmethod
    def _names_are_unique(cls, cards: tuple[ModelCard, ...]) -> tuple[ModelCard, ...]:
        names = [card.name for card in cards]
        if len(set(names)) < len(names):
            raise ValueError(f"model names must be unique; got {', '.join(names)}")
        return cards

    @field_validator("fetch")
    @classmethod
    def _roots_are_absolute(cls, fetch: FetchPolicy) -> FetchPolicy:
        return replace(fetch, roots=tuple(root.expanduser().absolute() for root in fetch.roots))

    @model_validator(mode="after")
    def _references_exist(self) -> Settings:
        if strangers := self.certificates.keys() - self.tasks.keys():
            raise ValueError(f"certificates name {sorted(strangers)}, which are no tasks here: {', '.join(self.tasks)}")
        if strangers := self.extras.keys() - self.tasks.keys():
            raise ValueError(f"extras name {sorted(strangers)}, which are no tasks here: {', '.join(self.tasks)}")
        for task, terms in self.certificates.items():
            terms.acceptable(task)
        for task, chain in self.tasks.items():
            if unknown := [name for name in chain if name not in self.cards]:
                raise ValueError(f"task '{task}' names unknown models {unknown}; configured: {', '.join(self.cards)}")
            if not chain or task not in self.policies:
                raise ValueError(f"task '{task}' needs at least one model and a policy")
            if (done := [self.cards[name].task for name in chain]) not in CHAINS[task]:
                wanted = " or ".join(" → ".join(tasks) for tasks in CHAINS[task])
                raise ValueError(f"task '{task}' is done by models for {wanted}; its models are for {' → '.join(done)}")
        for task in self.extras:
            for model in self.asked(task):
                if model not in self.cards or self.cards[model].task not in {
                    self.cards[m].task for m in self.tasks[task]
                }:
                    raise ValueError(
                        f"extras of task '{task}' name '{model}', which is no configured model of its kind"
                    )
        return self

    @property
    def cards(self) -> dict[str, ModelCard]:
        return {card.name: card for card in self.models}

    @property
    def standards(self) -> Standards:
        """What predictions must meet before they are published."""
        return Standards(rules=self.sanity, ontology=self.ontology)

    @property
    def profile_file(self) -> Path:
        """Where 'prelabel models profile --write' keeps what it measured: beside the lock, under the same name."""
        return self.lock_file.with_suffix(".profile")

    def stated(self, card: ModelCard) -> frozenset[str]:
        """What the configuration itself says of a card, such as "num_gpus" or "limits.max_cost".

        What differs from its default has been said by somebody, be it by the environment.
        """
        limits, default = asdict(card.limits), asdict(BatchLimits())
        changed = {f"limits.{name}" for name, value in limits.items() if value != default[name]}
        return self._stated.get(card.name, frozenset()) | changed | ({"num_gpus"} if card.num_gpus else set())

    @property
    def acceptable(self) -> dict[Task, Acceptable]:
        """By task when a pre-label counts as good enough as it is."""
        return {
            task: self.certificates[task].acceptable(task) if task in self.certificates else ACCEPTABLE[task]
            for task in self.tasks
        }

    def asked(self, task: Task) -> tuple[str, ...]:
        """The models that an item of the task is put to: those that do it, and one that they are compared with."""
        second = self.extras.get(task, Extras()).second_model
        return self.tasks[task] if second is None else (*self.tasks[task], second)

    @property
    def disagreements(self) -> dict[Task, tuple[Disagreement, ...]]:
        """By task what its ``extras`` switch on."""
        cards = self.task_cards
        return {task: extras_of(extras, cards[task], media=self.media) for task, extras in self.extras.items()}

    @property
    def task_cards(self) -> dict[Task, TaskCard]:
        return {task: TaskCard(task=task, models=chain) for task, chain in self.tasks.items()}


def load(name: str | None = None) -> Settings:
    """The settings of a file, or of a preset named "demo" or "gpu".

    Args:
        name: None takes ``prelabel.yaml`` in the working folder if there is one, else the preset demo.

    Raises:
        ConfigError: the file is missing, is not YAML, or has wrong or unknown keys; the message names each.
    """
    file = _file(name)
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ConfigError(f"{file} must hold keys and values at its top; got {type(content).__name__}")
        settings = Settings(**_with_ontology(_with_cards(content, file), file))
        settings._stated |= dict(_stated(content, file))
        return settings
    except FileNotFoundError as err:
        raise ConfigError(f"no configuration at {err.filename}; give a file or one of: demo, gpu") from err
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"{file} cannot be read: {err}; give a file or one of: demo, gpu") from err
    except yaml.YAMLError as err:
        raise ConfigError(f"{file} is not YAML: {err}") from err
    except ValidationError as err:
        raise ConfigError(f"{file}: {_problems(err)}") from err


def check_port(server: ServerSettings) -> None:
    """Look whether the service can listen where it shall.

    Raises:
        ConfigError: somebody else listens there, or this machine has no such address.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as err:
        raise ConfigError(
            f"{server.host}:{server.port} cannot be listened on ({err.strerror}); set server.host or server.port"
        ) from err


def with_changes(settings: Settings, section: str, **changes: object) -> Settings:
    """The same settings with some keys of one section changed, checked anew."""
    changed = type(getattr(settings, section)).model_validate(getattr(settings, section).model_dump() | changes)
    return settings.model_copy(update={section: changed})


def _file(name: str | None) -> Path:
    if name is None:
        return DEFAULT_FILE if DEFAULT_FILE.exists() else PRESETS / "demo.yaml"
    preset = PRESETS / f"{name}.yaml"
    return preset if name.isidentifier() and preset.exists() else Path(name)


def _with_cards(content: dict[str, Any], file: Path) -> dict[str, Any]:
    """The file's content with every card in place: an entry is a card, or the path of one."""
    cards = (
        read_card(file.parent / entry) if isinstance(entry, str) else card_from(entry, folder=file.parent)
        for entry in content.get("models") or ()
    )
    return {"lock_file": file.with_suffix(".lock")} | content | {"models": tuple(cards)}


def _with_ontology(content: dict[str, Any], file: Path) -> dict[str, Any]:
    """The content with the ontology's path as seen from the file."""
    path = content.get("ontology")
    return content | {"ontology": file.parent / Path(path).expanduser()} if isinstance(path, str) else content


def _stated(content: dict[str, Any], file: Path) -> Iterator[tuple[str, frozenset[str]]]:
    """By the name of each card, the keys that the file or the card's own file holds."""
    for entry in content.get("models") or ():
        said = yaml.safe_load((file.parent / entry).read_text(encoding="utf-8")) if isinstance(entry, str) else entry
        yield said["name"], frozenset(said) | {f"limits.{key}" for key in said.get("limits") or ()}


def _problems(err: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(part) for part in problem['loc']) or 'file'}: {problem['msg']}" for problem in err.errors()
    )
