"""Serves a token classifier with plain FastAPI, one text a request, no batching."""

from __future__ import annotations

import os

from fastapi import FastAPI
from pydantic import BaseModel
from tagger import Tagger

app = FastAPI()
tagger = Tagger(os.environ["NETWORK"])


class Body(BaseModel):
    """One text."""

    text: str


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


# A plain def: FastAPI runs it in its thread pool (40 threads), as its documentation advises for blocking work.
@app.post("/predict")
def predict(body: Body) -> dict[str, list[dict[str, object]]]:
    return {"entities": tagger.entities([body.text])[0]}
