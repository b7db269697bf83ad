"""Loads a task's models into this process, while something else goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from models.types import Task
from pipelines.local import LocalModels
from serving.settings import Settings

LoadingModels = Callable[[], Awaitable[LocalModels]]  # waits until they are loaded


@asynccontextmanager
async def loading(settings: Settings, task: Task) -> AsyncIterator[LoadingModels]:
    """A task's models, which load in a thread from now on; they are closed with the context.

    What is yielded gives them once they are loaded, and raises what has gone wrong with that.
    """
    models = LocalModels(settings.cards, settings.lock_file, settings.media)

    def load() -> LocalModels:
        for model in settings.asked(task):
            models.use_of(model)  # loads it
        return models

    loads = asyncio.get_running_loop().run_in_executor(None, load)
    try:
        yield lambda: asyncio.shield(loads)
    finally:
        await asyncio.wait([loads])  # also where nobody wants them any more: nothing ends a thread
        loads.exception()  # whoever waited for them has been told
        await models.close()
