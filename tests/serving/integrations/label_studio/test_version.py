"""Checks that a version names what labels: another name wherever something of it is other, and only there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from models.errors import ModelError
from pipelines.ontology import Class, Ontology
from pipelines.policy import ThresholdPolicy
from pipelines.sanity import SanityRules
from pipelines.types import ModelUse
from serving.integrations.label_studio.version import model_version, version_of
from serving.service import Service, open_service
from serving.settings import Settings
from tests.serving.integrations.label_studio.builders import PlayedModels, settings_of_all


class OtherModels(PlayedModels):
    """Models with other weights, or another configuration."""

    def __init__(self, **other: str) -> None:
        super().__init__()
        self._other = other

    def use_of(self, model: str) -> ModelUse:
        return replace(super().use_of(model), **self._other)


@asynccontextmanager
async def opened(settings: Settings, models: PlayedModels) -> AsyncIterator[Service]:
    async with open_service(settings, models) as service:
        yield service


async def version(settings: Settings, models: PlayedModels | None = None) -> str:
    async with opened(settings, models or PlayedModels()) as service:
        return model_version(service.settings, service.models, service.flow, "ner")


async def test_a_version_is_the_same_for_what_is_the_same(postgres_url: str) -> None:
    settings = settings_of_all(postgres_url)

    assert await version(settings) == await version(settings)


async def test_weights_configuration_policy_rules_and_ontology_give_another_version(postgres_url: str) -> None:
    settings = settings_of_all(postgres_url)
    policies = settings.policies | {"ner": ThresholdPolicy(queue="all", accept_score=0.9)}
    lax = settings.model_copy(update={"sanity": SanityRules(untrimmed_span="off")})

    versions = [
        await version(settings),
        await version(settings, OtherModels(weights_digest="v" * 64)),
        await version(settings, OtherModels(config_digest="d" * 64)),
        await version(settings.model_copy(update={"policies": policies})),
        await version(lax),
        await version(settings.model_copy(update={"ontology": Ontology(classes=(Class(name="PER"),))})),
    ]

    assert len(set(versions)) == len(versions)


async def test_what_does_not_label_leaves_the_version(postgres_url: str) -> None:
    settings = settings_of_all(postgres_url)
    policies = settings.policies | {"speech": ThresholdPolicy(queue="all", accept_score=0.9)}

    assert await version(settings.model_copy(update={"policies": policies})) == await version(settings)


async def test_a_version_has_no_comma_and_no_blank(postgres_url: str) -> None:
    found = await version(settings_of_all(postgres_url))

    assert found.startswith("prelabel-ner-") and not set(found) & set(", ")  # Label Studio lists them with commas


async def test_a_model_that_has_never_run_has_no_version(postgres_url: str) -> None:
    models = PlayedModels()
    models.has_run = False

    with pytest.raises(ModelError, match="never"):
        await version(settings_of_all(postgres_url), models)


def test_the_order_of_what_labels_is_no_part_of_the_version() -> None:
    labels_with = {"tagger@1": "w:c", "policy": "p"}

    assert version_of("ner", labels_with) == version_of("ner", dict(reversed(labels_with.items())))
    assert version_of("ner", labels_with) != version_of("speech", labels_with)
