"""Tests that a client needs none of the service's heavy libraries."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("torch", "transformers", "ray", "fastapi", "starlette", "sqlalchemy", "psycopg", "scipy", "sklearn", "pyarrow")


def loaded_by(module: str) -> list[str]:
    program = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return eval(found.stdout)  # noqa: S307 - our own list


def test_the_client_loads_without_the_services_libraries() -> None:
    assert loaded_by("serving.client") == []


def test_a_module_that_brings_them_would_be_seen() -> None:
    assert {"fastapi", "sqlalchemy"} <= set(loaded_by("serving.ingress"))
