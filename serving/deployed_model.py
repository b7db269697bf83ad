"""Names what the service tells about a model that it runs."""

from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel, field_validator

from models.engine import EngineStats
from models.types import Task


class DeployedModel(BaseModel):
    """A model as it runs: its card's facts, the digests of its bytes, and how one of its replicas does.

    ``labels`` are those that its annotations may bear; none where that depends on what it is asked. ``problem`` says
    why it does not answer; ``engine`` counts since that replica's start.
    """

    name: str
    version: str
    task: Task
    adapter: str
    precision: str
    weights_digest: str | None
    config_digest: str
    labels: tuple[str, ...] = ()
    calibrated: bool = False
    ready: bool
    problem: str | None
    engine: EngineStats | None

    @field_validator("engine", mode="before")
    @classmethod
    def _reads_no_bound(cls, engine: Any) -> Any:
        """JSON has no infinity: a batch without a budget is written as null."""
        if isinstance(engine, dict) and engine.get("max_cost", 0.0) is None:
            return engine | {"max_cost": math.inf}
        return engine
