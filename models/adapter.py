"""States the three-step contract that every model family fulfils, and finds the family that a card names."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from models.card import ModelCard
from models.errors import ModelError
from models.types import Content, Payload, Prediction

if TYPE_CHECKING:
    from pathlib import Path


class Sample(Protocol):
    """One payload made ready for the accelerator."""

    @property
    def cost(self) -> float:
        """What the sample takes up in a batch, in the unit of the family: megapixels, tokens, or seconds of audio."""
        ...


S = TypeVar("S", bound=Sample)
R = TypeVar("R")


class Adapter(Protocol[S, R]):
    """A model in three steps, so that an engine can overlap them.

    A batch is a list of samples, one for each payload, so the engine prepares every item as it arrives and puts the
    batch together at the last moment. Order and length are kept through all steps, an empty list gives an empty list,
    no answer depends on the calls before: what an adapter keeps of them only spares it work (see Recalls). ``prepare``
    and ``read`` may run in several threads at once; ``forward`` runs in one thread.
    """

    def prepare(self, payloads: Sequence[Payload]) -> list[S]:
        """CPU: make each payload ready on its own, without looking at its neighbours."""
        ...

    def forward(self, batch: Sequence[S]) -> R:
        """Accelerator: put the batch together and run the network over it."""
        ...

    def read(self, raw: R, payloads: Sequence[Payload]) -> list[Prediction]:
        """CPU: turn the network's output into one prediction for each payload."""
        ...


@runtime_checkable
class Pads(Protocol):
    """An adapter that fills up short samples to the length of long ones, and can say what that costs."""

    def padded_cost(self, batch: Sequence[Any]) -> float:
        """What ``forward`` computes for a batch, in the unit of the samples' cost."""
        ...


@runtime_checkable
class HasExample(Protocol):
    """An adapter whose ``prepare`` leaves nothing of an invented payload, and that brings a sample of its own."""

    def example(self) -> Sample:
        """A sample that takes ``forward`` through all it does."""
        ...


@runtime_checkable
class DecodesJpegs(Protocol):
    """An adapter that can be given JPEGs as they are, if its card asks for it."""

    @property
    def decodes_jpegs(self) -> bool:
        """Whether ``prepare`` takes an EncodedJpeg."""
        ...


@runtime_checkable
class NamesLabels(Protocol):
    """An adapter that knows by which labels its annotations go."""

    @property
    def labels(self) -> tuple[str, ...]:
        """All that may occur, under the names of the card."""
        ...


@runtime_checkable
class Recalls(Protocol):
    """An adapter that keeps what it has computed of an image, so that the next question about it costs less.

    It keeps only what has a digest. What it gives then differs from what it would give without by no more than an
    image's neighbours in its batch may change it.
    """

    def recalled(self, content: Content) -> Payload | None:
        """What ``prepare`` takes in place of the decoded content; None where it has to be decoded. Any thread calls."""
        ...


def decodes_jpegs(adapter: Adapter[Any, Any]) -> bool:
    """Whether an adapter decodes JPEGs on its device, so that models.media.decode shall leave them to it."""
    return isinstance(adapter, DecodesJpegs) and adapter.decodes_jpegs


def labels_of(adapter: Adapter[Any, Any]) -> tuple[str, ...]:
    """The labels that an adapter's annotations may bear; none where that depends on what it is asked."""
    return adapter.labels if isinstance(adapter, NamesLabels) else ()


def load(card: ModelCard, folder: Path) -> Adapter[Any, Any]:
    """Build the card's adapter from verified weights.

    Args:
        card: the model's card.
        folder: where the weights lie (see models/weights.py). The family's module is imported only now.

    Raises:
        ModelError: the weights do not fit the card, or would have to be unpickled.
    """
    return import_module(f"models.adapters.{card.adapter}").load(card, folder)


def build_random(card: ModelCard) -> Adapter[Any, Any]:
    """Build the card's adapter at full size from its ``architecture`` with random weights (seeded), for benchmarks.

    Raises:
        ModelError: the card states no architecture.
    """
    if not card.architecture:
        raise ModelError("bad_card", f"model '{card.name}' has no architecture to build with random weights; add one")
    return import_module(f"models.adapters.{card.adapter}").build_random(card)
