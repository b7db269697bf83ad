"""Keeps what was measured of models in a file beside the configuration, and says whether it still holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

from pydantic import ConfigDict, PositiveFloat, PositiveInt, TypeAdapter, ValidationError

from models.errors import ConfigError
from models.profile import BatchMemory


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a model takes up on a device, and the limits that pay there.

    Attributes:
        device: as ``Accelerator.name`` says it.
        device_bytes: its memory.
        weights_digest, config_digest: of the bytes and of the card that were measured.
        items: in words, what it was measured with.
        model_bytes: what loading the model has taken.
        batches: what batches took up.
        max_items, max_cost: the recommended limits.
        num_gpus: the share of the device that the model needs with them; None on a CPU.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)

    device: str
    device_bytes: PositiveInt
    weights_digest: str
    config_digest: str
    items: str
    model_bytes: int
    batches: tuple[BatchMemory, ...]
    max_items: PositiveInt
    max_cost: PositiveFloat
    num_gpus: PositiveFloat | None = None


_PROFILES = TypeAdapter(dict[str, Profile])


def read(file: Path) -> dict[str, Profile]:
    """The profiles of a file by ``name@version``; none when the file does not exist.

    Raises:
        ConfigError: the file holds something else.
    """
    if not file.exists():
        return {}
    try:
        return _PROFILES.validate_json(file.read_bytes())
    except (OSError, ValidationError) as err:
        reason = f"{err.error_count()} wrong values" if isinstance(err, ValidationError) else str(err)
        raise ConfigError(
            f"{file} cannot be used as measured profiles ({reason}); remove it, or measure anew with "
            "'prelabel models profile --write'"
        ) from err


def write(profiles: Mapping[str, Profile], file: Path) -> None:
    """Put profiles into a file; those of other models stay as they are there.

    Raises:
        ConfigError: the file cannot be written, or holds something else.
    """
    together = read(file) | dict(profiles)
    content = json.dumps({name: asdict(profile) for name, profile in sorted(together.items())}, indent=1)
    try:
        file.write_text(content + "\n", encoding="utf-8")
    except OSError as err:
        raise ConfigError(f"the profiles cannot be written to {file}: {err.strerror}") from err


def staleness(profile: Profile, *, device: str, weights_digest: str, config_digest: str) -> str | None:
    """Why a profile says nothing about a model as it would run now; None if it does."""
    if profile.device != device:
        return f"it was measured on {profile.device}, and this is {device}"
    if profile.weights_digest != weights_digest:
        return f"it was measured with weights {profile.weights_digest[:12]}, and these are {weights_digest[:12]}"
    if profile.config_digest != config_digest:
        return "its card has changed since"
    return None
