"""Tests that the embedded server serves other processes, is shared by its owners, and stops with the last."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from models.errors import ConfigError
from pipelines.store.embedded import embedded_postgres


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="pl", dir="/tmp"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


def test_processes_of_this_machine_can_use_it_until_the_last_owner_leaves(folder: Path) -> None:
    with embedded_postgres(folder, durable=False) as url:
        with embedded_postgres(folder) as same_url:
            assert same_url == url
        with psycopg.connect(_plain(url)) as connection:
            addresses = connection.execute("SHOW listen_addresses").fetchone()
        answer = _run(
            "import psycopg, sys; print(psycopg.connect(sys.argv[1]).execute('SELECT 6 * 7').fetchone()[0])", url
        )

    assert answer == "42"
    assert addresses == ("",)  # a unix socket only, in a folder that is the server's own
    assert (folder / "data").stat().st_mode & 0o077 == 0
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(_plain(url))


def test_an_owner_that_was_killed_leaves_a_server_to_join(folder: Path) -> None:
    owner = (
        "import os, signal, sys, pathlib, psycopg\n"
        "from pipelines.store.embedded import embedded_postgres\n"
        "with embedded_postgres(pathlib.Path(sys.argv[1])) as url:\n"
        "    with psycopg.connect(url.replace('+psycopg', '')) as connection:\n"
        "        connection.execute('CREATE TABLE kept ()')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", owner, str(folder)], check=False, capture_output=True)

    with embedded_postgres(folder) as url, psycopg.connect(_plain(url)) as connection:
        kept = connection.execute("SELECT count(*) FROM kept").fetchone()

    assert killed.returncode == -9
    assert kept == (0,)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(_plain(url))


def test_a_long_and_odd_name_in_a_private_folder_will_do(folder: Path) -> None:
    folder.chmod(0o700)
    odd = folder / ("it's a long, odd name " * 5).strip()

    with embedded_postgres(odd, durable=False) as url, psycopg.connect(_plain(url)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)

    assert folder.stat().st_mode & 0o777 in (0o700, 0o701)  # root lets the server pass and nobody look


def test_a_file_in_the_place_of_the_folder_is_refused(folder: Path) -> None:
    (folder / "file").touch()

    with pytest.raises(ConfigError, match="name a folder that is writable"), embedded_postgres(folder / "file"):
        pass


def test_a_folder_with_something_else_in_it_is_refused(folder: Path) -> None:
    (folder / "data").mkdir()

    with pytest.raises(ConfigError, match="holds no PostgreSQL cluster"), embedded_postgres(folder):
        pass


@pytest.mark.parametrize("left", [["postmaster.pid", ".s.PGSQL.5432.lock"], [".s.PGSQL.5432.lock"]])
def test_lock_files_of_another_process_do_not_stop_a_start(left: list[str], folder: Path) -> None:
    with embedded_postgres(folder, durable=False):
        found = {name: (folder / "data" / name).read_text() for name in left}
    for name, content in found.items():
        (folder / "data" / name).write_text("\n".join([str(os.getpid()), *content.splitlines()[1:]]))

    with embedded_postgres(folder, durable=False) as url, psycopg.connect(_plain(url)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_server_that_cannot_start_says_why_in_its_own_words(folder: Path) -> None:
    with embedded_postgres(folder, durable=False):
        pass
    (folder / "data" / "PG_VERSION").write_text("9\n")

    with pytest.raises(ConfigError, match="initialized by PostgreSQL version 9"), embedded_postgres(folder):
        pass


def _run(code: str, url: str) -> str:
    command = [sys.executable, "-c", code, _plain(url)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _plain(url: str) -> str:
    return url.replace("+psycopg", "")
