"""Starts Label Studio: one server for the tests that share it, others for those that need their own settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.label_studio.builders import a_personal_token
from tests.label_studio.product import Product, a_product
from tests.label_studio.projects import Studio, a_studio
from tests.label_studio.relay import Relay, a_relay
from tests.label_studio.server import ENVIRONMENT, LabelStudioServer, label_studio
from tests.pipelines.formats.readers import Reader, reader_of


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs the server."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.label_studio)


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudioServer]:
    """A server for the session that calls loopback addresses; tests make projects of their own."""
    with label_studio(tmp_path_factory.mktemp("label_studio")) as server:
        yield server


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., LabelStudioServer]]:
    """Starts servers with their own settings, given as environment variables; they end with the test."""
    with ExitStack() as stack:

        def start(**environment: str) -> LabelStudioServer:
            folder = tmp_path / f"label_studio_{len(list(tmp_path.iterdir()))}"
            return stack.enter_context(label_studio(folder, environment=environment))

        yield start


@pytest.fixture(scope="session")
def personal_token(shared_server: LabelStudioServer) -> str:
    """The personal access token of the shared server's user, who may have only one."""
    return a_personal_token(shared_server.url)


@pytest.fixture
def admin(shared_server: LabelStudioServer) -> Iterator[httpx.Client]:
    """A plain client of the shared server, as its administrator."""
    with shared_server.client() as client:
        yield client


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """The service with the demo models, for all tests; projects of their own keep them apart."""
    with a_product(tmp_path_factory.mktemp("product")) as product:
        yield product


@pytest.fixture(scope="session")
def sdk() -> Iterator[Reader]:
    """The library of Label Studio's makers, in the version that its server has (sdk.py)."""
    program = Path(__file__).with_name("sdk.py")
    with reader_of(ENVIRONMENT / "bin" / "python", program) as reader:
        yield reader


@pytest.fixture
def relay(product: Product) -> Iterator[Relay]:
    """What passes Label Studio's calls on to the service, for one test."""
    with a_relay(product.address) as relay:
        yield relay


@pytest.fixture
def studio(admin: httpx.Client, shared_server: LabelStudioServer, product: Product) -> Iterator[Callable[..., Studio]]:
    """Makes projects of the shared server beside the product; they are deleted at the end, connected as they are."""
    made = list[Studio]()

    def make(label_config: str, **options: Any) -> Studio:
        made.append(a_studio(admin, shared_server, product, label_config=label_config, **options))
        return made[-1]

    yield make
    for one in made:
        admin.delete(f"/api/projects/{one.id}/")
