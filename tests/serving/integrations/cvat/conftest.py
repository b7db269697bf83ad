"""Starts what the tests of CVAT share: a service with the demo's models."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from serving.settings import StoreSettings, load
from tests.serving.integrations.cvat.real import a_service


@pytest.fixture(scope="session")
def address(postgres_server: str, postgres_template: str) -> Iterator[str]:
    """The address of a service with the demo's models and a store of its own."""
    import psycopg

    name = f"cvat_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_server.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {postgres_template}".encode())
    url = postgres_server.replace("/postgres?", f"/{name}?")
    with a_service(load("demo").model_copy(update={"store": StoreSettings(url=url)})) as running:
        yield running
