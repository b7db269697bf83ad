"""Says which tasks CVAT's images can be labelled by, and how long a job waits for the service."""

from __future__ import annotations

from models.errors import ConfigError
from models.types import Task

# A job of hours must outlive a restart of the service: so many attempts wait for a minute or two in all.
PATIENT_ATTEMPTS, PATIENT_S = 20, 600.0


def image_task(name: str) -> Task:
    """The task of that name.

    Raises:
        ConfigError: it is not one for images.
    """
    match name:
        case "detection" | "segmentation":
            return name
        case _:
            raise ConfigError(f"task is '{name}'; images are labelled by detection or segmentation")
