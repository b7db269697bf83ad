"""Names what measures disagreement, and builds what a task's settings switch on."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict

from models.errors import ConfigError, PrelabelError
from models.media import MediaLimits
from models.types import Content, Prediction, Priority
from pipelines.disagreement.disagreement import Disagreement, Predicts
from pipelines.disagreement.flip import Flip
from pipelines.disagreement.jitter import Jitter
from pipelines.disagreement.second_model import SecondModel
from pipelines.tasks import TaskCard

logger = logging.getLogger(__name__)

_SHARE_OF_TIME = 0.5  # of what is left to an item: what an extra takes longer for must not make the item late


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """What is measured beyond the models' own signals; each asks models once more for every item.

    Attributes:
        flip: asks the detector about the mirrored image (detection, and segmentation behind a detector).
        jitter: asks the segmenter about boxes that are a little off (segmentation).
        second_model: a deployed model of the same task as the last one of the chain, to compare with (any task).
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    flip: bool = False
    jitter: bool = False
    second_model: str | None = None


def extras_of(extras: Extras, card: TaskCard, *, media: MediaLimits = MediaLimits()) -> tuple[Disagreement, ...]:
    """What the settings of a task switch on.

    None of them fails an item: what goes wrong, or takes longer than half of the time that is left, is logged and its
    entries are left out.

    Args:
        media: what an image may unfold to, as for the models.

    Raises:
        ConfigError: an extra does not apply to the task.
    """
    found = list[Disagreement]()
    if extras.flip:
        if card.task != "detection" and (card.task != "segmentation" or len(card.models) < 2):
            raise ConfigError(f"flip asks a detector, and task '{card.task}' has none; leave it off")
        found.append(Flip(detector=card.models[0], media=media))
    if extras.jitter:
        if card.task != "segmentation":
            raise ConfigError(f"jitter asks a segmenter, and task '{card.task}' has none; leave it off")
        found.append(Jitter(segmenter=card.models[-1]))
    if extras.second_model is not None:
        if extras.second_model in card.models:
            raise ConfigError(f"second_model '{extras.second_model}' does task '{card.task}' already; name another")
        found.append(SecondModel(task=card.task, model=extras.second_model))
    return tuple(_Spared(inner) for inner in found)


@dataclass(frozen=True, slots=True)
class _Spared:
    """An extra whose failure costs its entries and not the item."""

    inner: Disagreement

    async def measure(
        self,
        content: Content,
        prediction: Prediction,
        models: Predicts,
        *,
        priority: Priority,
        deadline_s: float | None,
    ) -> dict[str, float]:
        name = type(self.inner).__name__
        own_s = None if deadline_s is None else deadline_s * _SHARE_OF_TIME
        try:
            async with asyncio.timeout(own_s):
                return await self.inner.measure(content, prediction, models, priority=priority, deadline_s=own_s)
        except PrelabelError as err:
            logger.warning("%s is left out of an item: %s (%s)", name, err.message, err.code)
        except TimeoutError:
            logger.warning("%s is left out of an item: it took longer than %.3f s", name, own_s)
        except Exception:
            logger.exception("%s failed unexpectedly and is left out of an item", name)
        return {}
