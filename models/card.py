"""Names everything that makes up a model: task, family, weights, labels, precision and batch limits."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar

import yaml
from pydantic import ConfigDict, NonNegativeFloat, PositiveFloat, PositiveInt, TypeAdapter, ValidationError

from models.errors import ModelError
from models.types import Media, Task

Family = Literal[
    "transformers_detection",
    "torchvision_detection",
    "segment_anything",
    "token_classification",
    "faster_whisper",
]
Precision = Literal["fp32", "bf16", "fp16", "int8"]
Option = str | float | int | bool | None

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

OptionsT = TypeVar("OptionsT", bound="DataclassInstance")

MEDIA_OF_FAMILY: dict[Family, Media] = {
    "transformers_detection": "image",
    "torchvision_detection": "image",
    "segment_anything": "image",
    "token_classification": "text",
    "faster_whisper": "audio",
}
_SPARING = frozenset({"kept_features_mib"})  # options that spare work and change no answer
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """How much one forward pass may take and how much may wait for it.

    ``max_cost`` is in the family's unit: megapixels of model input (images), tokens (text), seconds (audio). What waits
    is bounded by ``max_queue`` items and ``max_queue_bytes`` of encoded content; bulk items may take three quarters. A
    forward pass that takes longer than ``max_forward_s`` counts as hung, and the replica is started anew.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    max_items: PositiveInt = 16
    max_cost: PositiveFloat = float("inf")
    max_queue: PositiveInt = 512
    max_queue_bytes: PositiveInt = 512 * 2**20
    max_forward_s: PositiveFloat = 600.0

    def batch_sizes(self, *, cost: float) -> tuple[int, ...]:
        """1, 2, 4, 8 … items of a cost and the most that fit: what a GPU is warmed up for and graphs are padded to."""
        most = max(int(min(self.max_items, self.max_cost / max(cost, 1e-9))), 1)
        return (*(2**power for power in range(most.bit_length()) if 2**power < most), most)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """A model of a known family, as configuration.

    Attributes:
        name: what users and other cards call it.
        version: told apart from other bytes under the same name; part of the deployment's name.
        task: what its labels are for.
        adapter: the family, a file in models/adapters/.
        weights: a local folder (or Meta's .pth for SAM), relative to the file that holds the card, or
            ``hf:owner/name@revision``, with ``#file`` behind it for a single file.
        labels: renames the model's own labels; a label mapped to "" is dropped. Unlisted labels keep their name.
        min_score: annotations below it are not emitted (they still count as signals).
        precision: arithmetic of the forward pass; on a CPU the half precisions fall back to fp32.
        device: "auto" takes CUDA where there is one.
        limits: batch and queue bounds.
        num_gpus, num_cpus: share of a node that one replica reserves.
        replicas: copies that serve in parallel.
        architecture: the network's full configuration, for building it without weights.
        options: settings of the family; each family lists its own and refuses others.
        embeddings: whether each prediction comes with an embedding of its item, which the store keeps and sampling
            compares items by. It changes no label, and so is no part of ``digest``.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    version: str = "1"
    task: Task
    adapter: Family
    weights: str
    labels: dict[str, str] = field(default_factory=dict)
    min_score: float = 0.5
    precision: Precision = "fp32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    limits: BatchLimits = BatchLimits()
    num_gpus: NonNegativeFloat = 0.0
    num_cpus: NonNegativeFloat = 1.0
    replicas: PositiveInt = 1
    architecture: dict[str, Option | list[int] | list[str]] = field(default_factory=dict)
    options: dict[str, Option] = field(default_factory=dict)
    embeddings: bool = False

    def __post_init__(self) -> None:
        for value in (self.name, self.version):
            if not _NAME.fullmatch(value):
                raise ModelError("bad_card", f"model name or version {value!r} must match {_NAME.pattern}")
        if not 0.0 <= self.min_score <= 1.0:
            raise ModelError("bad_card", f"min_score of model '{self.name}' must lie in [0, 1]; got {self.min_score}")

    @property
    def media(self) -> Media:
        return MEDIA_OF_FAMILY[self.adapter]

    def digest(self) -> str:
        """sha256 over what shapes the output; where the bytes lie and how many copies run leave it alone."""
        shaping = {"task", "adapter", "labels", "min_score", "precision", "options"}
        options = {name: value for name, value in self.options.items() if name not in _SPARING}
        this = replace(self, options=options)
        return hashlib.sha256(TypeAdapter(ModelCard).dump_json(this, include=shaping)).hexdigest()

    def label_for(self, model_label: str) -> str | None:
        """The label to emit for one of the model's own, or None when the card drops it."""
        return self.labels.get(model_label, model_label) or None


def options_of(card: ModelCard, schema: type[OptionsT]) -> OptionsT:
    """The card's options as the family's dataclass, which names each option with its type, range and default.

    Raises:
        ModelError: bad_card, with each wrong or unknown option.
    """
    known = [option.name for option in fields(schema)]
    if unknown := sorted(card.options.keys() - set(known)):
        raise ModelError("bad_card", f"'{card.name}' has unknown options {unknown}; known: {known}")
    try:
        return TypeAdapter(schema).validate_python(card.options)
    except ValidationError as err:
        problems = "; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']}; got {p['input']!r}" for p in err.errors())
        raise ModelError("bad_card", f"options of model '{card.name}' cannot be used: {problems}") from err


def read_card(file: Path) -> ModelCard:
    """The card of a YAML file; a local path of weights is taken from the file's folder.

    Raises:
        ModelError: bad_card, with each wrong or unknown key.
    """
    try:
        return card_from(yaml.safe_load(file.read_text(encoding="utf-8")), folder=file.parent)
    except (OSError, yaml.YAMLError) as err:
        raise ModelError("bad_card", f"no model card can be read at {file}: {err}") from err


def card_from(entry: object, *, folder: Path) -> ModelCard:
    """The card that a parsed mapping describes; a local path of weights is taken from ``folder``.

    Raises:
        ModelError: bad_card, with each wrong or unknown key.
    """
    try:
        card = TypeAdapter(ModelCard).validate_python(entry)
    except ValidationError as err:
        problems = "; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in err.errors())
        raise ModelError("bad_card", f"a model card in {folder} cannot be used: {problems}") from err
    if card.weights.startswith("hf:"):
        return card
    return replace(card, weights=str((folder / Path(card.weights).expanduser()).resolve()))


def torch_device(card: ModelCard) -> str:
    """The torch device that the card's model runs on: "cuda" or "cpu".

    Raises:
        ModelError: the card asks for CUDA and there is none.
    """
    import torch

    if card.device == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    if card.device == "cuda":
        raise ModelError("no_accelerator", f"model '{card.name}' asks for device cuda, and torch finds none here")
    return "cpu"
