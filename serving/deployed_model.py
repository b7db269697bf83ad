"""Names what the service tells about a model that it runs."""

from __future__ import annotations

from pydantic import BaseModel

from models.engine import EngineStats
from models.types import Task


class DeployedModel(BaseModel):
    """A model as it runs: its card's facts, the digests of its bytes, and how one of its replicas does.

    ``problem`` says why it does not answer; ``engine`` counts since that replica's start.
    """

    name: str
    version: str
    task: Task
    adapter: str
    precision: str
    weights_digest: str | None
    config_digest: str
    calibrated: bool = False
    ready: bool
    problem: str | None
    engine: EngineStats | None
