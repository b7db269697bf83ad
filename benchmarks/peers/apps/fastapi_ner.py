"""Serves a token classifier with plain FastAPI, one text a request, no batching."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import FastAPI
from pydantic import BaseModel
from tagger import Tagger

_THREADS = int(os.environ.get("THREADS", "40"))


@asynccontextmanager
async def limited(_: FastAPI) -> AsyncIterator[None]:
    """Sets how many threads the pool has, as Starlette's documentation says; 40 is its default."""
    anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
    yield


app = FastAPI(lifespan=limited)
tagger = Tagger(os.environ["NETWORK"])


class Body(BaseModel):
    """One text."""

    text: str


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


# A plain def: FastAPI runs it in its thread pool, as its documentation advises for blocking work.
@app.post("/predict")
def predict(body: Body) -> dict[str, list[dict[str, object]]]:
    return {"entities": tagger.entities([body.text])[0]}
