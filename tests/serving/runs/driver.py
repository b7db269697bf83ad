"""Works on posted runs in a process of its own, by models that write down what they see; made to be killed."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from models.types import Content, Prediction, Priority
from tests.serving.builders import ObedientModels
from tests.serving.runs.builders import settings_over, working

_PREDICTION_S = 0.02


class LoggingModels(ObedientModels):
    def __init__(self, log: Path) -> None:
        super().__init__()
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def predict(
        self, model: str, content: Content, *, priority: Priority, deadline_s: float | None
    ) -> Prediction:
        os.write(self._log, content.data + b"\n")
        await asyncio.sleep(_PREDICTION_S)
        return await super().predict(model, content, priority=priority, deadline_s=deadline_s)


async def main(url: str, root: Path, log: Path) -> None:
    async with working(settings_over(root, url), LoggingModels(log)):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
