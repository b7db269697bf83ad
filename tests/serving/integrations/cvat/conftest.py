"""Starts what the tests of CVAT share: a service with the demo's models."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from serving.settings import StoreSettings, load
from tests.serving.integrations.cvat.real import a_service


@pytest.fixture(scope="session")
def store_url(postgres_server: str, postgres_template: str) -> str:
    """The store of the service."""
    import psycopg

    name = f"cvat_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_server.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {postgres_template}".encode())
    return postgres_server.replace("/postgres?", f"/{name}?")


@pytest.fixture(scope="session")
def address(store_url: str) -> Iterator[str]:
    """The address of a service with the demo's models, in this process."""
    with a_service(load("demo").model_copy(update={"store": StoreSettings(url=store_url)})) as running:
        yield running
