"""Checks that embeddings are kept with their pre-label, are reused with it, and appear nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from pydantic import TypeAdapter
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from models.embedding import embedding
from models.types import Content, Embedding, Prediction, Priority
from pipelines.formats.results import RESULT, result
from pipelines.recent import Recent
from pipelines.reuse import KeptModels, SharedModels
from pipelines.store import engine as database
from pipelines.store.drops import Drops
from pipelines.store.results import Results
from pipelines.store.store import Store
from pipelines.store.tables import embeddings
from pipelines.tasks import chained
from pipelines.types import Labelled, ModelUse
from tests.pipelines.builders import a_failed, a_labelled, a_pre_label, an_annotation

VECTOR = embedding("detector", np.array([0.5, -2.0, 65504.0]))


def embedded(item_id: str = "one", *, digest: str = "aa", vector: Embedding | None = VECTOR) -> Labelled:
    pre_label = a_pre_label(an_annotation())
    pre_label = replace(
        pre_label,
        prediction=replace(pre_label.prediction, embedding=vector),
        provenance=replace(pre_label.provenance, item_digest=digest),
    )
    return a_labelled(item_id, pre_label=pre_label)


async def stored(store: Store) -> list[Mapping[str, object]]:
    async with database.reading(store.engine) as connection:
        return [dict(row) for row in (await connection.execute(select(embeddings))).mappings()]


async def test_an_embedding_is_kept_beside_its_pre_label_under_the_model_that_ran(store: Store, run_id: str) -> None:
    await store.save([embedded(), a_failed("two"), a_labelled("three")], run_id=run_id)

    [row] = await stored(store)
    assert (row["model"], row["dimension"], row["data"]) == ("detector@1:abababababab", 3, VECTOR.data)
    [found, *_] = await store.results(run_id)
    assert isinstance(found.outcome, Labelled)
    assert row["prelabel_id"] == found.position
    assert found.outcome.pre_label.prediction.embedding is None  # a page of results does not read it


async def test_a_repeated_save_and_one_that_fails_store_no_other(store: Store, run_id: str) -> None:
    await store.save([embedded()], run_id=run_id)
    await store.save([embedded(vector=embedding("detector", np.ones(2)))], run_id=run_id)
    crooked = replace(VECTOR, data=b"")

    with pytest.raises(DBAPIError):
        await store.save([embedded("two", digest="bb", vector=crooked)], run_id=run_id)

    assert [row["data"] for row in await stored(store)] == [VECTOR.data]
    assert len(await store.results(run_id)) == 1  # the pre-label of the failed save is not there either


@pytest.mark.parametrize("statement", ["UPDATE embeddings SET dimension = 1", "DELETE FROM embeddings"])
async def test_an_embedding_is_never_changed(store: Store, run_id: str, statement: str) -> None:
    await store.save([embedded()], run_id=run_id)

    with pytest.raises(DBAPIError, match="written once"):
        async with database.transaction(store.engine) as connection:
            await connection.execute(text(statement))


async def test_an_embedding_is_in_no_result_and_in_no_stored_prediction(store: Store, run_id: str) -> None:
    outcome = embedded()
    await store.save([outcome], run_id=run_id)

    async with database.reading(store.engine) as connection:
        written = (await connection.execute(text("SELECT prediction::text FROM prelabels"))).scalar_one()

    assert "embedding" not in written
    assert b"embedding" not in RESULT.dump_json(result(outcome))
    assert b"embedding" not in TypeAdapter(Prediction).dump_json(outcome.pre_label.prediction)


async def test_equal_contents_of_a_run_share_an_embedding_from_memory_and_from_the_store(
    store: Store, run_id: str
) -> None:
    outcome = embedded()
    recent = Recent(lambda digests: Drops(store).known(run_id, digests))
    recent.add(outcome.pre_label)
    from_memory = await recent.find("aa")
    await store.save([outcome], run_id=run_id)

    from_store = (await Drops(store).known(run_id, ["aa"]))["aa"]

    assert from_memory is not None
    assert from_memory.prediction.embedding == from_store.prediction.embedding == VECTOR
    twin = replace(outcome, item=replace(outcome.item, id="twin"), pre_label=from_store)
    await store.save([twin], run_id=run_id)
    assert [row["data"] for row in await stored(store)] == [VECTOR.data] * 2
    assert {row["model"] for row in await stored(store)} == {"detector@1:abababababab"}


class Embedder:
    """Answers with an embedding or without one, as told, and counts."""

    def __init__(self, *, embeds: bool) -> None:
        self.embeds, self.asked = embeds, 0

    async def predict(
        self, model: str, content: Content, *, priority: Priority, deadline_s: float | None
    ) -> Prediction:
        self.asked += 1
        return Prediction(signals={"no_miss": 0.5}, embedding=VECTOR if self.embeds else None)

    def use_of(self, model: str) -> ModelUse:
        return ModelUse(name=model, version="1", weights_digest="w", config_digest="c", embeds=self.embeds)


async def test_a_kept_answer_without_an_embedding_is_none_for_a_model_that_embeds(store: Store) -> None:
    kept = Results(store, most_age=timedelta(days=1))
    plain, embedder = Embedder(embeds=False), Embedder(embeds=True)
    content = Content(media="image", data=b"x", digest="d")

    async def ask(models: Embedder) -> Prediction:
        shared = SharedModels(KeptModels(models, kept))
        return await shared.predict("m", content, priority="bulk", deadline_s=None)

    answers = [await ask(models) for models in (plain, plain, embedder, embedder, plain)]

    assert (plain.asked, embedder.asked) == (1, 1)
    assert [answer.embedding for answer in answers[:4]] == [None, None, VECTOR, VECTOR]


def test_of_a_chain_the_first_model_embeds_or_else_the_second() -> None:
    other = replace(VECTOR, model="outliner")
    first, second = Prediction(embedding=VECTOR), Prediction(embedding=other)

    assert chained(first, second).embedding == VECTOR
    assert chained(Prediction(), second).embedding == other
    assert chained(Prediction(), Prediction()).embedding is None


async def test_a_save_of_many_embeddings_is_larger_than_one_without(store: Store, run_id: str) -> None:
    many = [embedded(str(number), digest=str(number)) for number in range(300)]

    await store.save(many, run_id=run_id)

    async with database.reading(store.engine) as connection:
        assert (await connection.execute(select(func.count()).select_from(embeddings))).scalar_one() == 300
