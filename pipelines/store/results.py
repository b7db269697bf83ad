"""Keeps what a model answered to a question, for as long as it may be reused."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert

from models.types import Embedding, Prediction
from pipelines.errors import StoreUnavailableError
from pipelines.store import engine as database
from pipelines.store.store import Store
from pipelines.store.tables import results

_PREDICTION = TypeAdapter(Prediction)


class Results:
    """Predictions by question, no older than ``most_age``; they are bytes of JSON, so that they come back exactly."""

    def __init__(self, store: Store, *, most_age: timedelta) -> None:
        self._engine = store.engine
        self._oldest = func.now() - most_age

    async def find(self, question: str) -> Prediction | None:
        """What was answered, if it is known and not too old. A store that is away knows nothing."""
        columns = (results.c.prediction, results.c.embedding, results.c.embedding_model)
        wanted = select(*columns).where(results.c.question == question, results.c.created_at > self._oldest)
        try:
            async with database.reading(self._engine) as connection:
                found = (await connection.execute(wanted)).first()
        except StoreUnavailableError:
            return None
        if found is None:
            return None
        prediction = _PREDICTION.validate_json(found.prediction)
        if found.embedding is None:
            return prediction
        return replace(prediction, embedding=Embedding(model=found.embedding_model, data=found.embedding))

    async def keep(self, question: str, prediction: Prediction) -> None:
        """Remember an answer; one with numbers that are not finite, which JSON cannot hold, is not kept."""
        data = _PREDICTION.dump_json(prediction)
        try:
            _PREDICTION.validate_json(data)
        except ValidationError:
            return
        embedding = prediction.embedding
        statement = insert(results).values(
            question=question,
            prediction=data,
            embedding=None if embedding is None else embedding.data,
            embedding_model=None if embedding is None else embedding.model,
        )
        kept = ("prediction", "embedding", "embedding_model")
        newer = {name: statement.excluded[name] for name in kept} | {"created_at": func.now()}
        async with database.transaction(self._engine) as connection:
            await connection.execute(statement.on_conflict_do_update(index_elements=["question"], set_=newer))

    async def drop_old(self) -> int:
        """Forget what is too old; how many that were."""
        async with database.transaction(self._engine) as connection:
            return (await connection.execute(delete(results).where(results.c.created_at <= self._oldest))).rowcount
